extension TrialResult {
    /// What to tell of a program that did not end well: the system calls that it made and the guest's kernel lacks; nil where there
    /// are none.
    public var missingSystemCalls: String? {
        guard !unknownSystemCalls.isEmpty else { return nil }
        let calls = unknownSystemCalls.sorted { $0.key < $1.key }.map { name, count in
            count == 1 ? name : "\(name) (\(count) times)"
        }
        return "the guest's kernel lacks system calls that the program made: \(calls.joined(separator: ", "))"
    }
}
