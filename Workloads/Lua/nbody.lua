-- The Sun and the outer planets for 1000 steps of a hundredth of a year, by the symplectic Euler method: the energy at the end, in
-- billionths. Masses, places and speeds (astronomical units, days) are those of the Computer Language Benchmarks Game.
local solarMass = 4 * math.pi ^ 2
local year = 365.24

local function body(x, y, z, vx, vy, vz, mass)
    return { x = x, y = y, z = z, vx = vx * year, vy = vy * year, vz = vz * year, mass = mass * solarMass }
end

local function system()
    local bodies = {
        body(0, 0, 0, 0, 0, 0, 1),
        body(4.84143144246472090e+00, -1.16032004402742839e+00, -1.03622044471123109e-01, 1.66007664274403694e-03,
            7.69901118419740425e-03, -6.90460016972063023e-05, 9.54791938424326609e-04),
        body(8.34336671824457987e+00, 4.12479856412430479e+00, -4.03523417114321381e-01, -2.76742510726411619e-03,
            4.99852801234917238e-03, 2.30417297573763929e-05, 2.85885980666130812e-04),
        body(1.28943695621391310e+01, -1.51111514016986312e+01, -2.23307578892655734e-01, 2.96460137564761618e-03,
            2.37847173959480950e-03, -2.96589568540237556e-05, 4.36624404335156298e-05),
        body(1.53796971148509165e+01, -2.59193146099879641e+01, 1.79258772950371181e-01, 2.68067772490389322e-03,
            1.62824170038242295e-03, -9.51592254519715870e-05, 5.15138902046611451e-05),
    }
    local px, py, pz = 0, 0, 0
    for _, b in ipairs(bodies) do
        px, py, pz = px + b.vx * b.mass, py + b.vy * b.mass, pz + b.vz * b.mass
    end
    local sun = bodies[1]
    sun.vx, sun.vy, sun.vz = -px / solarMass, -py / solarMass, -pz / solarMass
    return bodies
end

local function advance(bodies, dt)
    for i = 1, #bodies do
        local a = bodies[i]
        for j = i + 1, #bodies do
            local b = bodies[j]
            local dx, dy, dz = a.x - b.x, a.y - b.y, a.z - b.z
            local squared = dx * dx + dy * dy + dz * dz
            local magnitude = dt / (squared * math.sqrt(squared))
            local ma, mb = a.mass * magnitude, b.mass * magnitude
            a.vx, a.vy, a.vz = a.vx - dx * mb, a.vy - dy * mb, a.vz - dz * mb
            b.vx, b.vy, b.vz = b.vx + dx * ma, b.vy + dy * ma, b.vz + dz * ma
        end
    end
    for _, b in ipairs(bodies) do
        b.x, b.y, b.z = b.x + dt * b.vx, b.y + dt * b.vy, b.z + dt * b.vz
    end
end

local function energy(bodies)
    local sum = 0
    for i, a in ipairs(bodies) do
        sum = sum + 0.5 * a.mass * (a.vx * a.vx + a.vy * a.vy + a.vz * a.vz)
        for j = i + 1, #bodies do
            local b = bodies[j]
            local dx, dy, dz = a.x - b.x, a.y - b.y, a.z - b.z
            sum = sum - a.mass * b.mass / math.sqrt(dx * dx + dy * dy + dz * dz)
        end
    end
    return sum
end

-- To the nearest billionth.
local function billionths(value)
    return value < 0 and -math.floor(-value * 1e9 + 0.5) or math.floor(value * 1e9 + 0.5)
end

function run()
    local bodies = system()
    for _ = 1, 1000 do advance(bodies, 0.01) end
    return billionths(energy(bodies))
end
