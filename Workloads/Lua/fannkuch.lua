-- Pancake flipping: of all orders of 1 … 7, the most prefix reversals until 1 leads, and an alternating sum of all:
-- sum * 100 + most.
local n = 7

function run()
    local order, work, count = {}, {}, {}
    for i = 1, n do order[i], count[i] = i, i end
    local sum, most, sign = 0, 0, 1
    while true do
        if order[1] ~= 1 then
            for i = 1, n do work[i] = order[i] end
            local flips = 0
            while work[1] ~= 1 do
                local low, high = 1, work[1]
                while low < high do
                    work[low], work[high] = work[high], work[low]
                    low, high = low + 1, high - 1
                end
                flips = flips + 1
            end
            sum = sum + sign * flips
            if flips > most then most = flips end
        end
        if sign == 1 then
            order[1], order[2] = order[2], order[1]
            sign = -1
        else
            order[2], order[3] = order[3], order[2]
            sign = 1
            local i = 3
            while count[i] == 1 do
                if i == n then return sum * 100 + most end
                count[i] = i
                i = i + 1
                local first = order[1]
                for j = 1, i - 1 do order[j] = order[j + 1] end
                order[i] = first
            end
            count[i] = count[i] - 1
        end
    end
end
