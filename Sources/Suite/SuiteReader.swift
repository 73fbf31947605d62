/// Turns the tree of a suite file into a `Suite`, logging everything that is wrong with it.
struct SuiteReader {
    let vocabulary: Vocabulary
    /// Makes a host path of the file absolute.
    let resolve: (String) -> String
    private let log = ProblemLog()

    init(vocabulary: Vocabulary, resolve: @escaping (String) -> String) {
        self.vocabulary = vocabulary
        self.resolve = resolve
    }

    /// Values that workloads take when they do not say otherwise.
    struct Defaults {
        var backends: [String]
        var trials = Limits.defaultTrials
        var memoryBytes = Limits.defaultMemoryBytes
        var timeLimitSeconds = Limits.defaultTimeLimitSeconds
        var cpu = CPUPolicy.auto
        var variants: [Variant] = []
    }

    /// The suite, or all problems in file order.
    func read(_ node: JSONNode) -> (suite: Suite?, problems: [SuiteProblem]) {
        let suite = suite(JSONCursor(node: node, path: .root, log: log))
        let problems = log.problems.enumerated()
            .sorted { ($0.element.position!, $0.offset) < ($1.element.position!, $1.offset) }
            .map(\.element)
        return (problems.isEmpty ? suite : nil, problems)
    }

    private func suite(_ cursor: JSONCursor) -> Suite? {
        let keys = [
            "$schema", "name", "description", "reproduces", "seed", "trials", "warmup", "profile", "backends",
            "defaults", "variants", "workloads", "aggressors", "colocation",
        ]
        guard let object = cursor.object(keys: keys, expected: "a suite, an object,") else { return nil }
        _ = object["$schema"]?.string()
        let name = object.required("name", "add a short name, \"name\": \"quick\"").flatMap(identifier)
        var defaults = Defaults(backends: vocabulary.backends.filter(Vocabulary.defaultBackends.contains))
        if let list = object["backends"] {
            defaults.backends = nameList(list, among: vocabulary.backends, "backend") ?? defaults.backends
        }
        defaults.trials = object["trials"].flatMap(trials) ?? defaults.trials
        if let object = object["defaults"]?.object(keys: ["memory", "timeLimit", "cpu"]) {
            defaults.memoryBytes = object["memory"].flatMap(memory) ?? defaults.memoryBytes
            defaults.timeLimitSeconds =
                object["timeLimit"]?.seconds(in: Limits.timeLimitSeconds) ?? defaults.timeLimitSeconds
            defaults.cpu = object["cpu"].flatMap(cpu) ?? defaults.cpu
        }
        defaults.variants = object["variants"].flatMap { variants($0, backends: defaults.backends) } ?? []

        var suite = Suite(name: name ?? "", backends: defaults.backends, workloads: [])
        suite.description = object["description"]?.string() ?? ""
        suite.reproduces = object["reproduces"]?.choice(of: Vocabulary.publications, "publication")
        suite.seed = object["seed"]?.integer(in: Limits.seeds, "a seed") ?? suite.seed
        suite.warmup = object["warmup"].flatMap(warmup) ?? suite.warmup
        suite.profile = object["profile"]?.bool() ?? suite.profile
        guard let list = object.required("workloads", "add what to run, \"workloads\": [{\"name\": \"null-syscall\"}]")
        else { return nil }
        let workloadReader = WorkloadReader(suite: self, defaults: defaults)
        let elements = list.array(expected: "a list of workloads")
        if elements?.isEmpty == true { list.problem("no workloads", "add one, {\"name\": \"null-syscall\"}") }
        let workloads = elements.map { $0.map { ($0, workloadReader.read($0)) } } ?? []
        suite.workloads = workloads.compactMap(\.1)
        let aggressors =
            object["aggressors"]?.array(expected: "a list of workloads")?.map { ($0, workloadReader.read($0)) } ?? []
        suite.aggressors = aggressors.compactMap(\.1)
        reportDuplicates((workloads + aggressors).map { ($0, $1?.name) }, "workload")

        if let elements = object["colocation"]?.array(expected: "a list of co-locations") {
            // Names also of workloads that have problems of their own: not to report them twice.
            let reader = ColocationReader(
                suite: self, defaults: defaults, workloads: suite.workloads + suite.aggressors,
                victims: workloads.compactMap { $0.0.memberString("name") },
                aggressors: (workloads + aggressors).compactMap { $0.0.memberString("name") })
            let colocations = elements.map { ($0, reader.read($0)) }
            suite.colocation = colocations.compactMap(\.1)
            reportDuplicates(colocations.map { ($0, $1?.name) }, "co-location")
        }
        return suite
    }

    // MARK: Values that several readers need

    /// A name: letters, digits, ".", "_" and "-", as it appears in file names and tables.
    func identifier(_ cursor: JSONCursor) -> String? {
        guard let text = cursor.string(expected: "a name") else { return nil }
        func isLetterOrDigit(_ c: Character) -> Bool { c.isASCII && (c.isLetter || c.isNumber) }
        guard let first = text.first, isLetterOrDigit(first), text.count <= 64,
            text.allSatisfy({ isLetterOrDigit($0) || "._-".contains($0) })
        else {
            cursor.problem(
                "\"\(text)\" is not a name", "up to 64 letters, digits, \".\", \"_\" and \"-\", a letter or digit first"
            )
            return nil
        }
        return text
    }

    func trials(_ cursor: JSONCursor) -> Int? { cursor.integer(in: Limits.trials, "a number of trials") }

    func memory(_ cursor: JSONCursor) -> UInt64? {
        guard let bytes = cursor.bytes(in: Limits.memoryBytes) else { return nil }
        guard bytes.isMultiple(of: Limits.pageBytes) else {
            let up = (bytes / Limits.pageBytes + 1) * Limits.pageBytes
            cursor.problem("\(bytes) bytes are not whole pages of \(Limits.pageBytes)", "write \(up)")
            return nil
        }
        return bytes
    }

    func cpu(_ cursor: JSONCursor) -> CPUPolicy? {
        switch cursor.node.value {
        case .number: return cursor.integer(in: Limits.cpus, "a CPU number").map(CPUPolicy.pinned)
        case .string: return cursor.choice(of: ["auto", "float"], "CPU policy") == "float" ? .float : .auto
        default:
            cursor.problem(
                "\(cursor.node.value.typeName) where a CPU is expected", "write \"auto\", \"float\" or a CPU number")
            return nil
        }
    }

    private func warmup(_ cursor: JSONCursor) -> WarmupPolicy? {
        if case .string = cursor.node.value {
            guard let name = cursor.choice(of: ["detect", "none"], "warm-up policy") else { return nil }
            return name == "none" ? WarmupPolicy.none : .detect
        }
        guard let object = cursor.object(keys: ["discard"], expected: "\"detect\", \"none\" or {\"discard\": rounds}"),
            let rounds = object.required("discard", "write {\"discard\": 3}")?
                .integer(in: Limits.warmupRounds, "a number of rounds")
        else { return nil }
        return .discard(rounds: rounds)
    }

    /// A list of distinct names out of `candidates`, returned in their order; not empty.
    func nameList(_ cursor: JSONCursor, among candidates: [String], _ what: String) -> [String]? {
        guard let elements = cursor.array(expected: "a list of \(what)s") else { return nil }
        if elements.isEmpty {
            cursor.problem(
                "the list is empty", "leave the key out, or name some: " + candidates.joined(separator: ", "))
            return nil
        }
        let names = elements.map { ($0, $0.choice(of: candidates, what)) }
        reportDuplicates(names, what)
        let known = names.compactMap(\.1)
        return known.isEmpty ? nil : candidates.filter(known.contains)
    }

    /// Backends of a part of the suite: of the vocabulary, and among those of the whole.
    func backends(_ cursor: JSONCursor, of whole: [String], _ wholeName: String) -> [String]? {
        guard let names = nameList(cursor, among: vocabulary.backends, "backend") else { return nil }
        for name in names where !whole.contains(name) {
            cursor.problem("\"\(name)\" is not among the backends of \(wholeName)", "add it there or remove it here")
        }
        return whole.filter(names.contains)
    }

    func variants(_ cursor: JSONCursor, backends: [String]) -> [Variant]? {
        guard let elements = cursor.array(expected: "a list of variants") else { return nil }
        let variants = elements.map { element -> (JSONCursor, Variant?) in
            guard
                let object = element.object(keys: ["name", "backends", "options"], expected: "a variant, an object,"),
                let name = object.required("name", "add a name, \"name\": \"small-cache\"").flatMap(identifier)
            else { return (element, nil) }
            var variant = Variant(name: name)
            variant.backends =
                object["backends"].flatMap {
                    $0.array(expected: "a list of backends")?.isEmpty == true
                        ? [] : self.backends($0, of: backends, "the suite")
                } ?? []
            for (key, value) in object["options"]?.dictionary(expected: "an object of options") ?? [] {
                switch value.node.value {
                case .string: variant.options[key] = value.string()
                case .number(let text): variant.options[key] = text
                case .bool(let flag): variant.options[key] = flag ? "true" : "false"
                default: value.problem("\(value.node.value.typeName) where an option's value is expected")
                }
            }
            for backend in variant.backends.isEmpty ? backends : variant.backends {
                guard let problem = vocabulary.optionProblem(backend, variant.options) else { continue }
                (object["options"] ?? element).problem(
                    problem,
                    variant.backends.isEmpty && backends.count > 1
                        ? "name the backends it is for, \"backends\": [\"software\"]" : nil)
            }
            return (element, variant)
        }
        reportDuplicates(variants.map { ($0, $1?.name) }, "variant")
        return variants.compactMap(\.1)
    }

    func reportDuplicates(_ named: [(cursor: JSONCursor, name: String?)], _ what: String) {
        var first: [String: JSONCursor] = [:]
        for (cursor, name) in named {
            guard let name else { continue }
            if let earlier = first[name] {
                cursor.problem(
                    "the \(what) \"\(name)\" is there twice",
                    "the first is \(earlier.path) in line \(earlier.node.position.line)")
            } else {
                first[name] = cursor
            }
        }
    }
}

extension JSONCursor {
    /// The string under a key, if all is as it should be; logs nothing.
    func memberString(_ key: String) -> String? {
        guard case .object(let members) = node.value,
            case .string(let text)? = members.first(where: { $0.key == key })?.node.value
        else { return nil }
        return text
    }
}
