-- The spectral norm of the infinite matrix a(i, j) = 1 / ((i + j)(i + j + 1) / 2 + i + 1), cut at 100 rows and columns, by ten
-- steps of the power method: in billionths.
local n = 100

local function a(i, j)
    local diagonal = i + j
    return 1 / (diagonal * (diagonal + 1) // 2 + i + 1)
end

local function multiply(vector, transposed)
    local product = {}
    for i = 0, n - 1 do
        local sum = 0
        for j = 0, n - 1 do sum = sum + (transposed and a(j, i) or a(i, j)) * vector[j] end
        product[i] = sum
    end
    return product
end

function run()
    local u, v = {}, nil
    for i = 0, n - 1 do u[i] = 1 end
    for _ = 1, 10 do
        v = multiply(multiply(u, false), true)
        u = multiply(multiply(v, false), true)
    end
    local uv, vv = 0, 0
    for i = 0, n - 1 do
        uv, vv = uv + u[i] * v[i], vv + v[i] * v[i]
    end
    return math.floor(math.sqrt(uv / vv) * 1e9 + 0.5)
end
