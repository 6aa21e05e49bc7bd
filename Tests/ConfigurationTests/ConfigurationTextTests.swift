import Configuration
import Foundation
import TestSupport
import Testing

/// Whatever a file holds, the answer is a configuration or an error with its place.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ConfigurationTextTests {
    private func read(_ bytes: [UInt8]) throws -> RunConfiguration {
        let directory = FileManager.default.temporaryDirectory.appending(path: "configuration-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = directory.appending(path: "r.yaml").path
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        do { return try RunConfiguration(file: path) } catch {
            #expect(error.place.hasPrefix(path))
            throw ConfigurationError(
                key: error.key, problem: error.problem, place: error.place.replacing(directory.path + "/", with: ""))
        }
    }

    @Test func marksAndLineEndsOfOtherEditorsAreRead() throws {
        #expect(try read([0xEF, 0xBB, 0xBF] + Array("seed: 7\r\nhead:\r\n  slices: 8\r\n".utf8)).seed == 7)
        #expect(try read([]) == RunConfiguration())
        #expect(try read(Array("# nothing\n---\n".utf8)) == RunConfiguration())
        #expect(try read(Array(#"{"seed": 7, "head": {"slices": 8}}"#.utf8)).head.slices == 8)
    }

    @Test(arguments: [
        (Array("seed: 1\noutput: \"".utf8) + [0xE9, 0x22, 0x0A], "r.yaml:2", "UTF-8"),
        ([0xFF, 0xFE, 0x73, 0x00], "r.yaml", "UTF-16"),
        (Array("seed: 1\noutput: a\u{7}\n".utf8), "r.yaml:2", "\\u{7}"),
        (Array("seed: 1\0\n".utf8), "r.yaml:1", "\\u{0}"),
        (Array("head:\n\tslices: 8\n".utf8), "r.yaml:2", "tab"),
        (Array("head:\n  slices: 8\n \tscale: 8\n".utf8), "r.yaml:3", "tab"),
        (Array("seed: 1\nseed: 2\n".utf8), "r.yaml:", "seed is given twice"),
        (Array("head: {scale: 1, slices: 8, \"scale\": 2}\n".utf8), "r.yaml:1", "scale is given twice"),
        (Array("seed: 1\n---\nseed: 2\n".utf8), "r.yaml:2", "second document"),
        (Array("a: b: c\n".utf8), "r.yaml:1", "not YAML"),
        (Array("output: *nothing\n".utf8), "r.yaml:1", "undefined alias"),
        (Array("- seed\n".utf8), "r.yaml", "mapping"),
        (Array("seed\n".utf8), "r.yaml", "mapping"),
        (Array("? [a]\n: 1\n".utf8), "r.yaml:1", "for a key"),
        (Array("head: {<<: 3}\n".utf8), "r.yaml:1", "merges"),
    ])
    func whatIsNoConfigurationIsSaid(bytes: [UInt8], place: String, problem: String) {
        let error = #expect(throws: ConfigurationError.self) { try read(bytes) }
        #expect(error?.place.hasPrefix(place) == true, "\(error?.place ?? "")")
        #expect(error?.problem.contains(problem) == true, "\(error?.problem ?? "")")
        #expect((error?.problem.count ?? 0) < 500)
    }

    /// A default that does not fit what was written beside it: the file is the place.
    @Test func whatNobodyWroteHasTheFileAsItsPlace() {
        whatIsNoConfigurationIsSaid(
            bytes: Array("data: {kind: features}\n".utf8), place: "r.yaml", problem: "with data.kind features")
        let setting = #expect(throws: ConfigurationError.self) {
            try RunConfiguration(yaml: "", name: "r.yaml", settings: ["data.kind=features"])
        }
        #expect(setting?.key == "backbone.name" && setting?.place == "r.yaml")
    }

    /// Not as arguments: they would be printed.
    @Test func whatIsTooLongOrNestedIsSaid() {
        whatIsNoConfigurationIsSaid(
            bytes: [UInt8](repeating: UInt8(ascii: "#"), count: 1 << 20 + 1), place: "r.yaml", problem: "longer")
        for (text, count) in [("[", 500_000), ("- ", 400_000), ("? ", 400_000), ("{a: ", 200_000)] {
            whatIsNoConfigurationIsSaid(
                bytes: Array(String(repeating: text, count: count).utf8), place: "r.yaml:1", problem: "nested")
        }
    }

    @Test func filesThatAreNoneAreSaid() {
        for (path, problem) in [("/nowhere/r.yaml", "No such file"), ("/tmp", "directory"), ("/dev/zero", "longer")] {
            let error = #expect(throws: ConfigurationError.self) { try RunConfiguration(file: path) }
            #expect(error?.place == path && error?.problem.contains(problem) == true)
        }
    }

    @Test func mappingsAreMerged() throws {
        let configuration = try RunConfiguration(
            yaml: """
                head: &head {scale: 32, slices: 8}
                batch: &batch {size: 64, micro_batch: &g 16}
                schedule: {steps: *g}
                """)
        #expect(configuration.schedule.steps == 16)
        // The mapping's own keys count, wherever they stand; of several merged ones the first.
        let merged = try RunConfiguration(
            yaml: "", settings: ["head={slices: 4, <<: [{scale: 1, slices: 2, m1: 3}, {scale: 5, m2: 0.25}]}"])
        #expect(merged.head.slices == 4 && merged.head.scale == 1 && merged.head.m1 == 3 && merged.head.m2 == 0.25)
    }

    /// Each level stands for nine of the one below: the whole for more than fits any memory.
    @Test(arguments: [
        ("head: {<<: [", "]}"), ("output: [", "]"), ("? [", "]\n: 1"), ("data: {path: {? [", "] : 1}}"),
    ])
    func aliasesOfAliasesAreBounded(before: String, after: String) {
        var text = "seed: &a0 {scale: 1}\n"
        for level in 1...40 {
            let aliases = (0..<9).map { _ in "*a\(level - 1)" }.joined(separator: ", ")
            text += "x\(level): &a\(level) {<<: [\(aliases)]}\n"
        }
        text += before + "*a40, *a40" + after
        #expect(throws: ConfigurationError.self) { try RunConfiguration(yaml: text) }
        // As many aliases as are allowed: two in each of ten levels.
        var few = "head: &a0 {scale: 1}\n"
        for level in 1...9 { few += "x\(level): &a\(level) {k: *a\(level - 1), <<: *a\(level - 1)}\n" }
        few += before + "*a9, *a9" + after
        #expect(throws: ConfigurationError.self) { try RunConfiguration(yaml: few) }
    }

    /// Random changes of a good file: nothing but a configuration or an error comes of them.
    @Test func damagedFilesAreReadOrRefused() throws {
        let seed = ProcessInfo.processInfo.environment["FUZZ_SEED"].flatMap(UInt64.init) ?? .random(in: 0...UInt64.max)
        var random = SplitMix(state: seed)
        let good = Array(
            """
            # A run.
            seed: 7
            output: &o runs/1.10
            data: {kind: features, path: *o, flip: no}
            backbone: {name: none, depths: [1, 2, 3, 4]}
            head:
              scale: 32.5
              <<: {slices: 8, m1: 1e0}
            evaluation:
              sets:
              - 'a.bin'
              - "b\\u0020c.bin"

            """.utf8)
        #expect(try self.read(good).head.slices == 8)
        let pieces = [
            "\n", "\t", "  ", "- ", ": ", "? ", "[", "]", "{", "}", "*o", "&o ", "<<: ", "'", "\"", "|\n", "---\n", "~",
            "1e9",
            "!x ", "#", "\\", "é", "\u{2028}", "%",
        ]
        var (read, refused) = (0, 0)
        for _ in 0..<400 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 1...20, using: &random)))
                case 2: bytes.insert(contentsOf: (pieces.randomElement(using: &random) ?? "").utf8, at: place)
                default: bytes += bytes[place..<min(bytes.count, place + 30)]
                }
                if bytes.isEmpty { bytes = [0x0A] }
            }
            do {
                _ = try self.read(bytes)
                read += 1
            } catch let error as ConfigurationError {
                refused += 1
                #expect(!error.problem.isEmpty && error.problem.count < 1000, "FUZZ_SEED=\(seed): \(error)")
            }
        }
        #expect(read > 0 && refused > 0, "FUZZ_SEED=\(seed)")
    }
}

private struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
