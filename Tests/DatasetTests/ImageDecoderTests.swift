import Dataset
import Foundation
import TestSupport
import Testing

func decode(_ bytes: [UInt8], _ shape: ImageShape) throws -> [UInt8] {
    var pixels = [UInt8](repeating: 0, count: shape.count)
    try pixels.withUnsafeMutableBufferPointer { target in
        try bytes.withUnsafeBytes { try ImageDecoder.decode($0, shape: shape, into: target) }
    }
    return pixels
}

/// An 8 × 8 gray ramp (16·row + 8·column) as PNG and JPEG (quality 95), and a 2 × 1 RGB PNG: red, blue.
private let rampPNG = Data(
    base64Encoded: """
        iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAE0lEQVR4nGNk4IAARgEog4UsBgBRMwJLe4Wi9QAAAABJRU5ErkJg\
        gg==
        """)
private let rampJPEG = Data(
    base64Encoded: """
        /9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoK\
        CgoKBggLDAsKDAkKCgr/wAALCAAIAAgBAREA/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUF\
        BAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVW\
        V1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi\
        4+Tl5ufo6erx8vP09fb3+Pn6/9oACAEBAAA/APk/9m3/AIJt/wDHv/xIPT/llX//2Q==
        """)
private let redBluePNG = Data(
    base64Encoded: """
        iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAIAAAB7QOjdAAAAD0lEQVR4nGP4z8DAwPAfAAcAAf9+CLHQAAAAAElFTkSuQmCC
        """)

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ImageDecoderTests {
    private let ramp: [UInt8] = (0..<64).map { (index: Int) -> UInt8 in UInt8(16 * (index / 8) + 8 * (index % 8)) }
    private let gray8 = ImageShape(channels: 1, height: 8, width: 8)

    @Test func everyFormatGivesItsPixels() throws {
        #expect(try decode(pgm(ramp, width: 8, height: 8), gray8) == ramp)
        #expect(try decode([UInt8](#require(rampPNG)), gray8) == ramp)
        let lossy = try decode([UInt8](#require(rampJPEG)), gray8)
        for (mine, stored) in zip(lossy, ramp) { #expect(abs(Int(mine) - Int(stored)) <= 3) }
        let ppm = Array("P6\n# a comment\n2 1\n255\n".utf8) + [255, 0, 0, 0, 0, 255]
        let color = ImageShape(channels: 3, height: 1, width: 2)
        #expect(try decode(ppm, color) == [255, 0, 0, 0, 0, 255])
        #expect(try decode([UInt8](#require(redBluePNG)), color) == [255, 0, 0, 0, 0, 255])
        // 0.299 · 255 and 0.114 · 255, rounded.
        #expect(try decode(ppm, ImageShape(channels: 1, height: 1, width: 2)) == [76, 29])
        #expect(try decode(pgm([7, 9], width: 2, height: 1), color) == [7, 7, 7, 9, 9, 9])
    }

    @Test func shrinkingAveragesAndGrowingInterpolates() throws {
        let halved = try decode(pgm(ramp, width: 8, height: 8), ImageShape(channels: 1, height: 4, width: 4))
        #expect(halved == (0..<16).map { (index: Int) -> UInt8 in UInt8(12 + 32 * (index / 4) + 16 * (index % 4)) })
        // 3 → 2: each output covers 1.5 inputs: (0·1 + 90·0.5)/1.5 = 30.
        #expect(
            try decode(pgm([0, 90, 240], width: 3, height: 1), ImageShape(channels: 1, height: 1, width: 2)) == [
                30, 190,
            ])
        // 2 → 4: centres at −0.25 (the border), 0.25, 0.75, 1.25.
        #expect(
            try decode(pgm([0, 100], width: 2, height: 1), ImageShape(channels: 1, height: 1, width: 4)) == [
                0, 25, 75, 100,
            ])
        let constant = try decode(
            pgm([UInt8](repeating: 255, count: 35), width: 5, height: 7), ImageShape(channels: 3, height: 13, width: 3))
        #expect(constant.allSatisfy { $0 == 255 })
    }

    @Test func everyTruncationIsAnError() throws {
        for whole in [try #require(rampPNG), try #require(rampJPEG), Data(pgm(ramp, width: 8, height: 8))] {
            // A JPEG's end marker and a PNG's last chunk carry no pixels.
            let marginal = whole.starts(with: [0xFF, 0xD8]) ? 2 : whole[0] == 0x89 ? 16 : 0
            for length in 0..<whole.count - marginal {
                let error = try #require(throws: DatasetError.self) { try decode([UInt8](whole[..<length]), gray8) }
                #expect(error.code == .corruptImage, "\(length): \(error)")
            }
        }
    }

    @Test func mutatedImagesNeverCrash() throws {
        var random = Mutator(seed: 7)
        let known = KnownPicture.all.map { Data($0.bytes) }
        for whole in [try #require(rampPNG), try #require(rampJPEG), Data(pgm(ramp, width: 8, height: 8))] + known {
            for _ in 0..<500 {
                do { _ = try decode(random.mutate([UInt8](whole)), gray8) } catch { #expect(error is DatasetError) }
            }
        }
    }

    @Test func hugeSizesAreRefusedBeforeTheyAreAllocated() {
        let error = #expect(throws: DatasetError.self) { try decode(Array("P5 99999999 99999999 255\n".utf8), gray8) }
        #expect(error?.message.contains("99999999") == true)
    }
}
