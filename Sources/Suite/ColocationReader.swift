/// Reads one co-location of a suite.
struct ColocationReader {
    let suite: SuiteReader
    let defaults: SuiteReader.Defaults
    /// Workloads that were read without a problem.
    let workloads: [Workload]
    /// Names of all workloads, those with problems too.
    let victims: [String]
    /// The same, and those of aggressors.
    let aggressors: [String]

    private static let keys = ["name", "description", "victim", "aggressor", "backends", "placements", "trials"]

    func read(_ cursor: JSONCursor) -> Colocation? {
        guard let object = cursor.object(keys: Self.keys, expected: "a co-location, an object,") else { return nil }
        let name = object.required("name", "add a name, \"name\": \"noisy-neighbour\"").flatMap(suite.identifier)
        let victim = object.required("victim", "add the name of a workload")?.choice(of: victims, "workload")
        let aggressor = object.required("aggressor", "add the name of a workload")?.choice(of: aggressors, "workload")
        var colocation = Colocation(name: name ?? "", victim: victim ?? "", aggressor: aggressor ?? "")
        colocation.description = object["description"]?.string() ?? ""
        let placements = Colocation.Placement.allCases.map(\.rawValue)
        colocation.placements =
            (object["placements"].flatMap { suite.nameList($0, among: placements, "placement") } ?? placements)
            .compactMap(Colocation.Placement.init(rawValue:))
        colocation.trials = object["trials"].flatMap(suite.trials) ?? defaults.trials
        colocation.backends = backends(object["backends"], victim: victim, aggressor: aggressor)
        return name != nil && victim != nil && aggressor != nil ? colocation : nil
    }

    /// As written, or all that both workloads run on.
    private func backends(_ cursor: JSONCursor?, victim: String?, aggressor: String?) -> [String] {
        let both = [victim, aggressor].compactMap { name in workloads.first { $0.name == name } }
        let common = defaults.backends.filter { backend in both.allSatisfy { $0.backends.contains(backend) } }
        guard let cursor, let names = suite.backends(cursor, of: defaults.backends, "the suite") else { return common }
        for name in names where !common.contains(name) {
            for workload in both where !workload.backends.contains(name) {
                cursor.problem("the workload \"\(workload.name)\" does not run on \"\(name)\"", "remove it here")
            }
        }
        return names
    }
}
