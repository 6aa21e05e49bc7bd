import Dataset
import Foundation
import TestSupport
import Testing
import Verification

func pgm(_ value: UInt8) -> [UInt8] { Array("P5 2 2 255\n".utf8) + [value, value, value, value] }

let gray2 = ImageShape(channels: 1, height: 2, width: 2)

extension VerificationSet {
    func pixels(of index: Int) throws -> [UInt8] {
        let buffer = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: images.imageShape.count)
        defer { buffer.deallocate() }
        try images.image(at: index, into: buffer)
        return Array(buffer)
    }
}

/// Opcodes of the pickles that the tests make.
private enum Op {
    static let start: [UInt8] = [0x80, 4]
    static func bytes(_ contents: [UInt8]) -> [UInt8] { [0x43, UInt8(contents.count)] + contents }
    static func text(_ string: String) -> [UInt8] { [0x8C, UInt8(string.utf8.count)] + Array(string.utf8) }
    static func global(_ module: String, _ name: String) -> [UInt8] { Array("c\(module)\n\(name)\n".utf8) }
    static func list(_ items: [[UInt8]]) -> [UInt8] { Array("](".utf8) + items.flatMap { $0 } + Array("e".utf8) }
}

private let twoPairs =
    Op.start + Op.list((1...4).map { Op.bytes(pgm($0)) }) + Op.list([[0x88], [0x89]]) + [0x86, 0x2E]

private func load(_ pickle: [UInt8]) throws -> VerificationSet {
    let folder = try TemporaryFolder()
    return try VerificationSet(binPath: folder.write(pickle, to: "set.bin"), imageShape: gray2)
}

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct PickleTests {
    @Test(
        .enabled(if: dataDirectory != nil, "set DATA_DIR to the folder with insightface_format"),
        arguments: [
            ("small_lfw", 10, 10, 246, 1_588_305), ("lfw_gray_60pairs_py2str", 60, 30, 0, 1_483_557),
            ("lfw_gray_300pairs_py3bytes", 300, 150, 0, 1_127_525),
        ])
    func everyFlavourMatchesPIL(name: String, pairs: Int, same: Int, first: Int, sum: Int) throws {
        let set = try VerificationSet(
            binPath: #require(dataDirectory) + "/insightface_format/\(name).bin",
            imageShape: ImageShape(channels: 1, height: 112, width: 112))
        #expect(set.name == name && set.images.sampleCount == 2 * pairs)
        #expect(set.pairs.count == pairs && set.pairs.count { $0.same } == same && set.foldCount == 10)
        let pixels = try set.pixels(of: 0)
        // Gray of a colour JPEG is its luma channel here; PIL converts to RGB and back.
        #expect(abs(Int(pixels[0]) - first) <= 1)
        #expect(abs(pixels.reduce(0) { $0 + Int($1) } - sum) < 112 * 112)
        for index in 0..<set.images.sampleCount { _ = try set.pixels(of: index) }
    }

    /// An array of Python's values takes its list: each array that shared one would be another copy of it.
    @Test func aListIsTheContentsOfOneArray() throws {
        let start =
            Array([0x80, 2]) + Op.global("numpy.core.multiarray", "_reconstruct") + Array("q\u{0}0".utf8)
            + Op.global("numpy", "dtype") + Array("(X\u{2}\u{0}\u{0}\u{0}O8tRq\u{3}0]q\u{2}0(K\u{1})h\u{3}".utf8)
        let state = start + [0x89] + Array("h\u{2}tq\u{1}0".utf8)
        let array = Array("h\u{0})Rh\u{1}b0".utf8)
        #expect { try load(state + array + array + Array("N.".utf8)) } throws: {
            "\($0)".contains("only arrays of integers and bools are read")
        }
        #expect { try load(state + array + Array("h\u{2}Na0N.".utf8)) } throws: {
            "\($0)".contains("only a list can be appended to")
        }
    }

    @Test(arguments: KnownPickles.all.keys.sorted()) func everyProtocolAndKindOfListIsRead(name: String) throws {
        let set = try load(KnownPickles.bytes(name))
        #expect(set.pairs.map(\.same) == [true, false])
        #expect(try (0..<4).map { try set.pixels(of: $0) } == [0, 39, 92, 255].map { [$0, $0, $0, $0] })
    }

    @Test(arguments: KnownPickles.all.keys.sorted()) func damagedPicklesEndWithAnError(name: String) throws {
        let whole = KnownPickles.bytes(name)
        for length in 0..<whole.count { #expect(throws: DatasetError.self) { try load(Array(whole[..<length])) } }
        var state: UInt64 = 5
        func below(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        for _ in 0..<150 {
            var pickle = whole
            for _ in 0...below(3) { pickle[below(pickle.count)] = UInt8(below(256)) }
            do { _ = try load(pickle) } catch { #expect(error is DatasetError) }
        }
    }

    /// A link's own length says nothing of the file.
    @Test func linksAreFollowed() throws {
        let folder = try TemporaryFolder()
        let file = try folder.write(twoPairs, to: "store/x")
        try FileManager.default.createSymbolicLink(atPath: folder.path + "/lfw.bin", withDestinationPath: file)
        #expect(try VerificationSet(binPath: folder.path + "/lfw.bin", imageShape: gray2).pairs.count == 2)
        #expect(throws: DatasetError.self) { try VerificationSet(binPath: folder.path, imageShape: gray2) }
    }

    @Test func labelsMustBeTrueOrFalse() throws {
        let images = Op.list((1...4).map { Op.bytes(pgm($0)) })
        for label: [UInt8] in [[0x4B, 2], [0x4E], Op.bytes([1]), [0x4A, 255, 255, 255, 255]] {
            let error = try #require(throws: DatasetError.self) {
                try load(Op.start + images + Op.list([[0x88], label]) + [0x86, 0x2E])
            }
            #expect(error.message.contains("for pair 1"))
        }
    }

    @Test func bytesAndFolds() throws {
        let set = try load(twoPairs)
        #expect(
            set.pairs == [
                VerificationPair(first: 0, second: 1, same: true, fold: 0),
                VerificationPair(first: 2, second: 3, same: false, fold: 1),
            ])
        #expect(try (0..<4).map { try set.pixels(of: $0)[0] } == [1, 2, 3, 4])
    }

    @Test func latinTextAndArraysOfBoolsAreRead() throws {
        // What Python 3 writes for bytes in protocol 2: _codecs.encode(text, 'latin1').
        let image: [UInt8] = Array("P5 2 2 255\n".utf8) + [0xC3, 0xBF, 1, 2, 3]  // ÿ in UTF-8
        let encoded =
            Op.global("_codecs", "encode") + Op.text(String(decoding: image, as: UTF8.self)) + Op.text("latin1") + [
                0x86, 0x52,
            ]
        let type = Op.global("numpy", "dtype") + Op.text("b1") + [0x85, 0x52]
        let flags =
            Op.global("numpy._core.numeric", "_frombuffer") + Array("(".utf8) + Op.bytes([1]) + type + [0x4B, 1, 0x85]
            + Op.text("C") + [0x74, 0x52]
        let set = try load(Op.start + Op.list([encoded, encoded]) + flags + [0x86, 0x2E])
        #expect(set.pairs.map(\.same) == [true])
        #expect(try set.pixels(of: 1) == [255, 1, 2, 3])
    }

    @Test(arguments: [
        ("os", "system"), ("posix", "system"), ("builtins", "eval"), ("subprocess", "Popen"), ("numpy", "load"),
        ("numpy.core.multiarray", "fromfile"),
    ])
    func namesAreNeverLookedUp(module: String, name: String) throws {
        let call = Op.global(module, name) + Op.text("touch /tmp/pwned") + [0x85, 0x52]
        let error = try #require(throws: DatasetError.self) { try load(Op.start + call + [0x2E]) }
        #expect(error.message.contains("opcode 0x63 at offset 2") && error.message.contains(name))
        let stacked = Op.text(module) + Op.text(name) + [0x93]
        #expect(throws: DatasetError.self) { try load(Op.start + stacked + [0x2E]) }
    }

    @Test(arguments: Array("RidosuPQ\u{81}\u{82}\u{83}\u{84}\u{92}\u{97}\u{98}".unicodeScalars))
    func unneededOpcodesAreNamed(opcode: Unicode.Scalar) throws {
        let byte = UInt8(opcode.value)
        let error = try #require(throws: DatasetError.self) { try load(Op.start + [byte] + Array("1\n.".utf8)) }
        #expect(error.message.contains("opcode 0x\(String(byte, radix: 16)) at offset 2"))
    }

    @Test func hostileStructuresEndWithAnError() throws {
        // A million nested tuples; a list that contains itself; a text decoded over and over; a huge length.
        let deep = Op.start + Array("N".utf8) + [UInt8](repeating: 0x85, count: 1_000_000) + [0x2E]
        let cyclic = Op.start + Array("]2a2a2\u{86}.".unicodeScalars.map { UInt8($0.value) })
        let text = Op.text(String(repeating: "x", count: 200)) + [0x94]
        let decode = Op.global("_codecs", "encode") + [0x94] + Op.text("latin1") + [0x94]
        let bomb =
            Op.start + text + decode + (0..<5000).flatMap { _ -> [UInt8] in [0x68, 1, 0x68, 0, 0x68, 2, 0x86, 0x52] }
            + [0x2E]
        let huge = Op.start + [0x8E, 255, 255, 255, 255, 255, 255, 255, 127] + [1, 2, 3]
        for pickle in [
            deep, cyclic, bomb, huge, [], [0x80], [0x2E], Op.start + [0x68, 9, 0x2E], Op.start + [0x65, 0x2E],
        ] {
            #expect(throws: DatasetError.self) { try load(pickle) }
        }
    }

    @Test func everyTruncationIsAnError() throws {
        for length in 0..<twoPairs.count { #expect(throws: DatasetError.self) { try load(Array(twoPairs[..<length])) } }
    }

    @Test func mutatedFilesNeverCrash() throws {
        let folder = try TemporaryFolder()
        var state: UInt64 = 11
        func below(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        for _ in 0..<2000 {
            var pickle = twoPairs
            for _ in 0...below(3) { pickle[below(pickle.count)] = UInt8(below(256)) }
            if below(3) == 0 { pickle.insert(UInt8(below(256)), at: below(pickle.count)) }
            do {
                let set = try VerificationSet(binPath: folder.write(pickle, to: "set.bin"), imageShape: gray2)
                for index in 0..<set.images.sampleCount { _ = try? set.pixels(of: index) }
            } catch { #expect(error is DatasetError) }
        }
    }

    @Test func mismatchedListsAreRefused() throws {
        let three = Op.start + Op.list((1...3).map { Op.bytes(pgm($0)) }) + Op.list([[0x88], [0x89]]) + [0x86, 0x2E]
        let error = try #require(throws: DatasetError.self) { try load(three) }
        #expect(error.message.contains("3 images for 2 pairs"))
        let numbers = Op.start + Op.list([[0x4B, 1], [0x4B, 2]]) + Op.list([[0x88]]) + [0x86, 0x2E]
        #expect(try #require(throws: DatasetError.self) { try load(numbers) }.index == 0)
    }
}
