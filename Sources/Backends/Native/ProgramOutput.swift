import Results

/// What the program writes to its standard output and standard error: handed on and digested as it comes.
struct ProgramOutput {
    private let observer: any TrialObserver
    private var digests = [OutputDigestBuilder(), OutputDigestBuilder()]

    init(observer: any TrialObserver) { self.observer = observer }

    /// Takes what waits in a non-blocking pipe. False at the end of the stream.
    mutating func take(from pipe: Descriptor, stream: Int) throws(SystemError) -> Bool {
        while let bytes = try pipe.read(upTo: 1 << 16) {
            if bytes.isEmpty { return false }
            bytes.withUnsafeBytes {
                observer.programWrote(stream: stream, bytes: $0)
                digests[stream - 1].append($0)
            }
        }
        return true
    }

    func finish(into result: inout TrialResult) {
        result.standardOutput = digests[0].digest()
        result.standardError = digests[1].digest()
    }
}
