-- Strings and tables: primes below 30000 by a sieve, written into one text and found in it again. How many were found.
function run()
    local composite, lines = {}, {}
    for number = 2, 29999 do
        if not composite[number] then
            lines[#lines + 1] = string.format("%d is prime", number)
            for multiple = number * number, 29999, number do composite[multiple] = true end
        end
    end
    local text = table.concat(lines, "\n")
    local found = {}
    for number in text:gmatch("(%d+) is prime") do found[#found + 1] = tonumber(number) end
    table.sort(found, function(a, b) return a > b end)
    assert(found[1] == 29989 and found[#found] == 2)
    return #found
end
