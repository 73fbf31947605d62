import Foundation
import Testing
import Translator
import TranslatorTesting

/// The translator survives whatever it is given, and what it makes keeps to the rules of translated code.
@Suite struct ArbitraryBytesTests {
    private func corpus() throws -> [ArbitraryBytes.Input] {
        let url = try #require(Bundle.module.url(forResource: "bytes", withExtension: "txt", subdirectory: "Corpus"))
        return try String(contentsOf: url, encoding: .utf8).split(separator: "\n").filter { !$0.hasPrefix("#") }.map {
            try #require(ArbitraryBytes.Input(line: $0), "not an input: \($0)")
        }
    }

    @Test func theCorpusTranslates() throws {
        let inputs = try corpus()
        let bytes = ArbitraryBytes(seed: 1, corpus: inputs)
        for input in inputs {
            if let violation = bytes.violation(in: input) { Issue.record("\(input): \(violation)") }
        }
    }

    @Test func noiseTranslates() throws {
        var bytes = ArbitraryBytes(seed: 2_006, corpus: try corpus())
        var failures = 0
        for _ in 0..<1500 where failures < 5 {
            let input = bytes.next()
            if let violation = bytes.violation(in: input) {
                failures += 1
                Issue.record("\(bytes.shrink(input)): \(violation)")
            }
        }
    }

    /// The checks can fail: the same block with one byte changed does not pass.
    @Test func aBlockThatBreaksTheRulesIsNoticed() throws {
        let translator = Translator(layout: DifferentialHarness.layout, options: TranslationOptions())
        // mov [rax], eax
        let code: [UInt8] = [0x89, 0x00] + [UInt8](repeating: 0xF4, count: 16)
        var block = try code.withUnsafeBufferPointer { try translator.translate(0x40_0000, bytes: $0) }
        try EmittedCode.check(block, DifferentialHarness.layout, .supervisor)
        let prefix = try #require(block.code[block.directEntry...].firstIndex(of: 0x64))
        block.code[prefix] = 0x3E
        #expect(throws: EmittedCode.Violation.self) {
            try EmittedCode.check(block, DifferentialHarness.layout, .supervisor)
        }
    }
}
