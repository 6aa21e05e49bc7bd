import Dataset
import Foundation
import TestSupport
import Testing

/// Six images of three classes with a header record 0 and identity ranges, as InsightFace writes them.
func sixImages(_ writer: inout RecordWriter, withHeader: Bool = true) {
    if withHeader { writer.add(key: 0, flag: 2, labels: [7, 10], image: []) }
    for key in 1...6 {
        let image = pgm([UInt8](repeating: UInt8(key * 10), count: 4), width: 2, height: 2)
        if key % 2 == 0 {
            writer.add(key: key, label: Float((key - 1) / 2), image: image)
        } else {
            writer.add(key: key, flag: 2, labels: [Float((key - 1) / 2), 0], image: image)
        }
    }
    for identity in 0..<3 {
        writer.add(key: 7 + identity, flag: 2, labels: [Float(2 * identity + 1), Float(2 * identity + 3)], image: [])
    }
}

let gray2 = DatasetOptions(imageShape: ImageShape(channels: 1, height: 2, width: 2))

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct RecordDatasetTests {
    @Test(.enabled(if: dataDirectory != nil, "set DATA_DIR to the folder with celeba_faces112"))
    func celebaMatchesPIL() throws {
        let set = try RecordDataset(path: try #require(dataDirectory) + "/celeba_faces112")
        #expect(set.sampleCount == 15767)
        #expect(set.classCount == 5530)
        #expect(set.imageShape == ImageShape(channels: 3, height: 112, width: 112))
        #expect(set.recordKey(of: 0) == 1 && set.recordKey(of: 15766) == 15767)
        // Label, first pixel, pixel (50, 60) and the sum of all values as PIL decodes them.
        let expected: [(Int, Int, [UInt8], [UInt8], Int)] = [
            (0, 0, [12, 10, 11], [187, 119, 82], 2_724_590), (17, 0, [201, 192, 197], [166, 81, 50], 3_640_700),
            (15766, 5529, [7, 20, 10], [198, 151, 123], 3_331_355),
        ]
        for (index, label, first, middle, sum) in expected {
            let pixels = try set.pixels(of: index)
            #expect(set.label(of: index) == label)
            #expect(Array(pixels[..<3]) == first)
            #expect(Array(pixels[((50 * 112 + 60) * 3)...].prefix(3)) == middle)
            #expect(pixels.reduce(0) { $0 + Int($1) } == sum)
        }
        #expect(set.samplesPerClass().values.count { $0 >= 3 } == 1412)
    }

    @Test(.enabled(if: dataDirectory != nil, "set DATA_DIR to the folder with insightface_format"))
    func vectorLabelsWithoutHeaderMatchPIL() throws {
        let path = try #require(dataDirectory) + "/insightface_format/tiny_celeba40x6"
        let half = ImageShape(channels: 3, height: 56, width: 56)
        let set = try RecordDataset(path: path, options: DatasetOptions(imageShape: half))
        #expect(set.sampleCount == 240)
        #expect(set.classCount == 40)
        #expect(set.samplesPerClass().values.filter { $0 == 6 }.count == 40)
        #expect(set.label(of: 17) == 2 && set.label(of: 239) == 39)
        let pixels = try set.pixels(of: 17)
        #expect(Array(pixels[..<3]) == [254, 255, 255])
        // Rounded means of 2 × 2 pixels of what PIL decodes.
        #expect(pixels.reduce(0) { $0 + Int($1) } == 1_304_453)
        #expect(Array(pixels[((25 * 56 + 30) * 3)...].prefix(3)) == [205, 129, 95])
    }

    @Test(arguments: [true, false], [true, false])
    func headerIsOptional(withHeader: Bool, withIndex: Bool) throws {
        let folder = try TemporaryFolder()
        var writer = RecordWriter()
        sixImages(&writer, withHeader: withHeader)
        _ = try writer.write(to: folder, property: withIndex ? "3,2,2\n" : nil, withIndex: withIndex)
        let set = try RecordDataset(path: folder.path, options: gray2)
        #expect(set.sampleCount == 6)
        #expect(set.classCount == 3)
        #expect((0..<6).map { set.label(of: $0) } == [0, 0, 1, 1, 2, 2])
        for index in 0..<6 {
            #expect(try set.pixels(of: index) == [UInt8](repeating: UInt8(index * 10 + 10), count: 4))
        }
    }

    @Test func recordsSplitAtTheMagicNumberAreJoined() throws {
        let folder = try TemporaryFolder()
        var writer = RecordWriter()
        let magic = little(UInt32(0xCED7_230A))
        // 24 bytes of header and 12 of PGM header put the pixels at a multiple of 4, where the writer splits.
        let image = Array("P5 4 3  255\n".utf8) + magic + [1, 2, 3, 4] + magic
        writer.add(key: 1, label: 0, image: image)
        let path = try writer.write(to: folder)
        let set = try RecordDataset(path: path)
        #expect(try set.pixels(of: 0) == magic + [1, 2, 3, 4] + magic)
    }

    @Test func labelsOutOfRangeAreReportedWithTheirKey() throws {
        for label: Float in [3, -1, 0.5, .nan, .infinity, 1e30] {
            let folder = try TemporaryFolder()
            var writer = RecordWriter()
            sixImages(&writer)
            writer.add(key: 20, label: label, image: pgm([1, 2, 3, 4], width: 2, height: 2))
            _ = try writer.write(to: folder, property: "3,2,2")
            let error = try #require(throws: DatasetError.self) { try RecordDataset(path: folder.path, options: gray2) }
            #expect(error.code == .labelOutOfRange && error.index == 20)
            var options = gray2
            options.badSamples = .skip
            let set = try RecordDataset(path: folder.path, options: options)
            #expect(set.sampleCount == 6)
            #expect(set.problems.map(\.index) == [20])
        }
    }

    @Test func everyTruncationIsAnError() throws {
        let folder = try TemporaryFolder()
        var writer = RecordWriter()
        sixImages(&writer)
        _ = try writer.write(to: folder, property: "3,2,2")
        let whole = writer.file
        for length in 0..<whole.count {
            _ = try folder.write(Array(whole[..<length]), to: "train.rec")
            let error = try #require(throws: DatasetError.self) { try RecordDataset(path: folder.path, options: gray2) }
            #expect([.truncatedRecord, .malformedRecord].contains(error.code), "\(length): \(error)")
        }
    }

    /// Whatever the bytes are, opening and decoding end with samples or errors.
    @Test func mutatedFilesNeverCrash() throws {
        let folder = try TemporaryFolder()
        var writer = RecordWriter()
        sixImages(&writer)
        let path = try writer.write(to: folder, property: "3,2,2")
        var generator = SystemRandomNumberGenerator()
        let seed = ProcessInfo.processInfo.environment["MUTATION_SEED"].flatMap { UInt64($0) } ?? generator.next()
        var random = Mutator(seed: seed)
        var options = gray2
        options.badSamples = .skip
        for round in 0..<3000 {
            let mutated = random.mutate(writer.file)
            try Data(mutated).write(to: URL(fileURLWithPath: path))
            let withIndex = round % 2 == 0
            try Data((withIndex ? random.mutate(Array(writer.index.utf8)) : Array(writer.index.utf8)))
                .write(to: URL(fileURLWithPath: folder.path + "/train.idx"))
            do {
                let set = try RecordDataset(path: path, options: options)
                for index in 0..<set.sampleCount {
                    #expect((0..<3).contains(set.label(of: index)), "MUTATION_SEED=\(seed), round \(round)")
                    _ = try? set.pixels(of: index)
                }
            } catch { #expect(!error.message.isEmpty, "MUTATION_SEED=\(seed), round \(round)") }
        }
    }

    @Test func missingAndMalformedFilesSayWhatIsWrong() throws {
        let folder = try TemporaryFolder()
        #expect(throws: DatasetError.self) { try RecordDataset(path: folder.path) }
        var writer = RecordWriter()
        sixImages(&writer)
        _ = try writer.write(to: folder, property: "three")
        var error = try #require(throws: DatasetError.self) { try RecordDataset(path: folder.path) }
        #expect(error.description.contains("property") && error.description.contains("three"))
        _ = try folder.write(Array("3,2,2".utf8), to: "property")
        _ = try folder.write(Array("1\t0\n2 x\n".utf8), to: "train.idx")
        error = try #require(throws: DatasetError.self) { try RecordDataset(path: folder.path) }
        #expect(error.description.contains("line 2"))
    }
}

/// Random damage to bytes, a function of its seed.
struct Mutator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func below(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % max(bound, 1)
    }

    mutating func mutate(_ bytes: [UInt8]) -> [UInt8] {
        var result = bytes
        for _ in 0...below(4) where !result.isEmpty {
            let position = below(result.count)
            switch below(5) {
            case 0: result[position] = UInt8(below(256))
            case 1: result[position] ^= 1 << UInt8(below(8))
            case 2: result.removeSubrange(position..<min(result.count, position + 1 + below(40)))
            case 3:
                result.insert(
                    contentsOf: (0...below(8)).map { _ in [0, 255, 127, UInt8(below(256))][below(4)] }, at: position)
            default: result.removeLast(below(result.count))
            }
        }
        return result
    }
}
