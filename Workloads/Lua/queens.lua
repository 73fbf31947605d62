-- The ways to place eight queens on a board so that none threatens another.
local n = 8

function run()
    local columns, rising, falling = {}, {}, {}
    local function place(row)
        if row > n then return 1 end
        local ways = 0
        for column = 1, n do
            local up, down = row + column, row - column
            if not columns[column] and not rising[up] and not falling[down] then
                columns[column], rising[up], falling[down] = true, true, true
                ways = ways + place(row + 1)
                columns[column], rising[up], falling[down] = nil, nil, nil
            end
        end
        return ways
    end
    return place(1)
end
