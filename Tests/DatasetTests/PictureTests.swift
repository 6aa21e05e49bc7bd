import Dataset
import Foundation
import TestSupport
import Testing

private let color8 = ImageShape(channels: 3, height: 8, width: 8)

/// FNV-1a.
private func hash(_ bytes: [UInt8]) -> UInt64 {
    bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
}

/// Where the bytes `pattern` begin.
private func position(of pattern: [UInt8], in bytes: [UInt8]) throws -> Int {
    try #require(bytes.indices.first { bytes[$0...].starts(with: pattern) })
}

/// Pictures as users have them: the pixels are those of every other reader.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct PictureTests {
    @Test(arguments: KnownPicture.all) func pixelsAreThoseOfPillow(picture: KnownPicture) throws {
        #expect(hash(try decode(picture.bytes, color8)) == picture.pixelHash, "\(picture.name)")
    }

    /// What libjpeg remarks on and reads all the same.
    @Test func harmlessRemarksAreNoDamage() throws {
        let plain = KnownPicture.named("jpeg").bytes
        let pixels = try decode(plain, color8)
        // JFIF version 3.01: the marker FF E0, its length, "JFIF\0", and the version.
        var version = plain
        version[try position(of: Array("JFIF".utf8), in: plain) + 5] = 3
        // An Adobe marker with a transform that nobody knows, in place of JFIF's.
        let adobe: [UInt8] = [0xFF, 0xEE, 0, 14] + Array("Adobe".utf8) + [0, 100, 0, 0, 0, 0, 9]
        let unknown = Array(plain[..<2]) + adobe + plain[20...]
        // The end of the spectrum of a sequential scan is 63, whatever the file says.
        var scan = plain
        let start = try position(of: [0xFF, 0xDA], in: plain)
        scan[start + 4 + 1 + 2 * 3 + 1] = 0
        for (name, bytes) in [
            ("version", version), ("Adobe", unknown), ("scan", scan), ("no end", Array(plain.dropLast(2))),
            ("text behind", plain + Array("hello".utf8)),
        ] {
            #expect(try decode(bytes, color8) == pixels, "\(name)")
        }
    }

    @Test(arguments: ["jpeg", "progressive", "cmyk", "png16", "palette", "webp", "webpLossless", "webpAlpha", "bmp"])
    func truncatedPicturesAreErrors(name: String) throws {
        let whole = KnownPicture.named(name).bytes
        // The end of a JPEG, the last chunk of a PNG and the padding of a WebP file carry no pixels.
        let marginal = name == "jpeg" || name == "cmyk" ? 2 : whole[0] == 0x89 ? 16 : name == "webp" ? 2 : 0
        for length in stride(from: 0, to: whole.count - marginal, by: 3) {
            let bytes = Array(whole[..<length])
            let error = #expect(throws: DatasetError.self, "\(name), \(length)") { try decode(bytes, color8) }
            #expect(error?.code == .corruptImage)
        }
    }

    @Test func pixelsThatAreNotThereAreDamage() throws {
        // A byte of the entropy-coded data that no code begins with: Pillow would give what comes.
        var broken = KnownPicture.named("jpeg").bytes
        let start = try position(of: [0xFF, 0xDA], in: broken) + 14
        for offset in stride(from: start, to: broken.count - 4, by: 2) {
            broken[offset] = 0xFF
            broken[offset + 1] = 0
        }
        #expect(throws: DatasetError.self) { try decode(broken, color8) }
    }

    @Test func otherPicturesAreNamed() throws {
        for (name, head) in [
            ("TIFF", [0x49, 0x49, 0x2A, 0] as [UInt8]), ("GIF", Array("GIF89a".utf8)),
            ("AVIF", [0, 0, 0, 32] + Array("ftypavif".utf8)), ("JPEG XL", [0xFF, 0x0A, 1, 2]),
        ] {
            let error = #expect(throws: DatasetError.self) {
                try decode(head + [UInt8](repeating: 0, count: 60), color8)
            }
            #expect(error?.code == .unreadFormat && error?.message.contains(name) == true)
        }
    }

    /// A file of a few bytes per scan, each of which goes over all pixels.
    @Test func scansAreBounded() throws {
        let small = ImageShape(channels: 1, height: 8, width: 8)
        #expect(try decode(progressive(side: 64, scans: 400), small) == [UInt8](repeating: 128, count: 64))
        var error = #expect(throws: DatasetError.self) { try decode(progressive(side: 64, scans: 600), small) }
        #expect(error?.message.contains("more than 500 scans") == true)
        // 4096² · 64 pixels are scanned, and no more.
        error = #expect(throws: DatasetError.self) { try decode(progressive(side: 4096, scans: 90), small) }
        #expect(error?.message.contains("more than 64 scans of 4096 x 4096") == true)
    }

    /// A gray progressive JPEG without detail: each scan says of up to 32,767 blocks at once that nothing is in them.
    private func progressive(side: Int, scans: Int) -> [UInt8] {
        func segment(_ marker: UInt8, _ contents: [UInt8]) -> [UInt8] {
            [0xFF, marker, UInt8((contents.count + 2) >> 8), UInt8((contents.count + 2) & 255)] + contents
        }
        func packed(_ bits: String) -> [UInt8] {
            let padded = Array(bits + String(repeating: "1", count: (8 - bits.count % 8) % 8))
            return stride(from: 0, to: padded.count, by: 8).flatMap { start -> [UInt8] in
                let byte = UInt8(String(padded[start..<start + 8]), radix: 2) ?? 0
                return byte == 0xFF ? [0xFF, 0] : [byte]
            }
        }
        let oneCode: [UInt8] = [1] + [UInt8](repeating: 0, count: 15)
        var blocks = side / 8 * (side / 8)
        var file: [UInt8] = [0xFF, 0xD8] + segment(0xDB, [0] + [UInt8](repeating: 1, count: 64))
        let extent = [UInt8(side >> 8), UInt8(side & 255)]
        file += segment(0xC2, [8] + extent + extent + [1, 1, 0x11, 0])
        file += segment(0xC4, [0] + oneCode + [0]) + segment(0xC4, [0x10] + oneCode + [0xE0])
        file += segment(0xDA, [1, 1, 0, 0, 0, 0]) + packed(String(repeating: "0", count: blocks))
        var runs = ""
        while blocks > 0 {
            let run = max(16_384, min(blocks, 32_767))
            let extra = String(run - 16_384, radix: 2)
            runs += "0" + String(repeating: "0", count: 14 - extra.count) + extra
            blocks -= run
        }
        for _ in 1..<scans { file += segment(0xDA, [1, 1, 0, 1, 63, 0]) + packed(runs) }
        return file + [0xFF, 0xD9]
    }
}
