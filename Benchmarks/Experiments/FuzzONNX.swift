import ArgumentParser
import Determinism
import Foundation
import ONNX
import ProcessSupport

/// `experiments fuzz-onnx`.
struct FuzzONNX: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fuzz-onnx",
        abstract: "Read mutated ONNX files: each is read or refused, in bounded memory.",
        discussion: """
            The copy number i is a function of the seed and i. Before a copy is read it is written to --last, so that one that ends the \
            process can be looked at.
            """)

    @Option(help: "Files to read.")
    var count = 200_000

    @Option(help: "What is changed is a function of this.")
    var seed = UInt64.random(in: 0...1_000_000)

    @Option(help: "The number of the first copy.")
    var first = 0

    @Option(parsing: .upToNextOption, help: "Folders with the ONNX files that are changed.", completion: .directory)
    var corpus = ["Tests/Golden/onnx"]

    @Option(help: "Where each copy lies while it is read.", completion: .file())
    var last = FileManager.default.temporaryDirectory.path + "/fuzzed.onnx"

    func run() throws {
        let fuzzer = try FileFuzzer(seed: seed, corpus: corpus)
        Experiments.say("seed \(seed), \(fuzzer.names.count) files: \(fuzzer.names.joined(separator: ", "))")
        var refused = 0
        var reasons: Set<String> = []
        var slowest = (number: 0, seconds: 0.0)
        for number in first..<first + count {
            try Data(fuzzer.copy(number)).write(to: URL(fileURLWithPath: last))
            let start = ContinuousClock.now
            do { _ = try ONNXFile.read(last) } catch {
                refused += 1
                // Sentences apart from what stands in them.
                reasons.insert(String(error.problem.filter { $0.isLetter && $0.isASCII || $0 == " " }.suffix(40)))
            }
            let seconds = (ContinuousClock.now - start) / .seconds(1)
            if seconds > slowest.seconds { slowest = (number, seconds) }
            if (number - first + 1) % 20_000 == 0 {
                Experiments.note(
                    "\(number - first + 1): \(refused) refused, \(ProcessMemory.peakResidentBytes >> 20) MiB at most")
            }
        }
        Experiments.say(
            "\(count) files: \(count - refused) read, \(refused) refused with \(reasons.count) different endings; peak memory \(ProcessMemory.peakResidentBytes >> 20) MiB; the slowest, number \(slowest.number), \(Units.fixed(slowest.seconds * 1000, 0)) ms"
        )
    }
}

/// Makes changed copies of files.
struct FileFuzzer {
    let names: [String]
    private let files: [[UInt8]]
    /// The sum of the weights of the files up to each: small ones are taken more often.
    private let weights: [Double]
    private let seed: UInt64

    /// Numbers that are often one too many, as varints.
    private static let numbers: [[UInt8]] = [
        [0x00], [0x01], [0x7F], [0xFF, 0x7F], [0xFF, 0xFF, 0xFF, 0xFF, 0x07], [0x80, 0x80, 0x80, 0x80, 0x08],
        [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], [UInt8](repeating: 0xFF, count: 9) + [0x01],
        [UInt8](repeating: 0x80, count: 9) + [0x01],
    ]

    /// - Parameter corpus: folders of `.onnx` files.
    init(seed: UInt64, corpus: [String]) throws {
        self.seed = seed
        var names: [String] = []
        var files: [[UInt8]] = []
        for folder in corpus {
            for name in try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
            where name.hasSuffix(".onnx") {
                names.append(name)
                files.append([UInt8](try Data(contentsOf: URL(fileURLWithPath: folder + "/" + name))))
            }
        }
        guard !files.isEmpty else { throw ValidationError("no .onnx file in \(corpus.joined(separator: ", "))") }
        (self.names, self.files) = (names, files)
        weights = files.reduce(into: [0.0]) { $0.append($0[$0.count - 1] + 1 / Double(max(1000, $1.count))) }
    }

    /// The copy of this number.
    func copy(_ number: Int) -> [UInt8] {
        var random = KeyedRandom(seed: seed, purpose: .test, UInt64(number))
        let place = random.unit() * weights[files.count]
        var bytes = files[max(1, weights.firstIndex { place < $0 } ?? 1) - 1]
        for _ in 0...random.below(5) where !bytes.isEmpty { change(&bytes, &random) }
        return bytes
    }

    private func change(_ bytes: inout [UInt8], _ random: inout KeyedRandom) {
        func below(_ bound: Int) -> Int { Int(random.below(UInt64(max(1, bound)))) }
        // Structure stands at the ends more than among the weights.
        let near = min(bytes.count, 8192)
        let at = [below(near), bytes.count - 1 - below(near), below(bytes.count)][below(3)]
        let end = min(bytes.count, at + 1 + below(64))
        switch below(8) {
        case 0: bytes[at] = UInt8(below(256))
        case 1: bytes[at] ^= 1 << UInt8(below(8))
        case 2:
            let number = Self.numbers[below(Self.numbers.count)]
            bytes.replaceSubrange(at..<min(bytes.count, at + number.count), with: number)
        case 3: bytes.insert(contentsOf: Self.numbers[below(Self.numbers.count)], at: at)
        case 4: bytes.removeSubrange(at..<end)
        case 5: bytes.insert(contentsOf: bytes[at..<end], at: below(bytes.count))
        case 6:
            // A piece of another file.
            let other = files[below(files.count)]
            guard !other.isEmpty else { return }
            let start = below(min(other.count, 16384))
            bytes.replaceSubrange(at..<end, with: other[start..<min(other.count, start + 1 + below(256))])
        default: if below(4) == 0 { bytes.removeSubrange(at...) }
        }
    }
}
