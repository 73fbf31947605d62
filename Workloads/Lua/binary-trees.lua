-- Trees that are built and dropped while one lives: work for the garbage collector. The nodes of all of them.
local function tree(depth)
    if depth == 0 then return {} end
    return { tree(depth - 1), tree(depth - 1) }
end

local function nodes(tree)
    if not tree[1] then return 1 end
    return 1 + nodes(tree[1]) + nodes(tree[2])
end

function run()
    local long = tree(11)
    local sum = 0
    for _ = 1, 40 do sum = sum + nodes(tree(9)) end
    return sum + nodes(long)
end
