import Dataset
import Foundation
import TestSupport
import Testing

private let gray = DatasetOptions(imageShape: ImageShape(channels: 1, height: 2, width: 2))
private let skipping = DatasetOptions(imageShape: gray.imageShape, badSamples: .skip)

private func dot(_ value: UInt8) -> [UInt8] { pgm([value, value, value, value], width: 2, height: 2) }

/// Folders as users have them: nothing vanishes without a word.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct FolderContentTests {
    @Test func picturesAreKnownByTheirContents() throws {
        let folder = try TemporaryFolder()
        for (name, file) in [
            ("a/1.webp", "webp"), ("b/1.bmp", "bmp"), ("c/1.jfif", "jpeg"), ("d/1.JPE", "jpeg"), ("e/picture", "rgba"),
            ("f/1.dat", "webpLossless"),
        ] { _ = try folder.write(KnownPicture.named(file).bytes, to: name) }
        _ = try folder.write(Array("hello".utf8), to: "e/notes.txt")
        let set = try FolderDataset(root: folder.path)
        #expect(set.classNames == ["a", "b", "c", "d", "e", "f"])
        for index in 0..<set.sampleCount { _ = try set.pixels(of: index) }
        #expect(set.opening.notes == ["files that are no pictures were passed over: 1 .txt"])
        #expect(set.opening.leftOutSamples == 0)
    }

    @Test func whatIsNotReadIsNamedAndCountedOrFatal() throws {
        let folder = try TemporaryFolder()
        _ = try folder.write(dot(1), to: "a/1.pgm")
        _ = try folder.write(dot(2), to: "b/1.pgm")
        let tiff: [UInt8] = [0x49, 0x49, 0x2A, 0, 8, 0, 0, 0]
        _ = try folder.write(tiff, to: "b/2.tif")
        _ = try folder.write(tiff, to: "c/1.tif")
        _ = try folder.write(Array("GIF89a12345".utf8), to: "c/2")
        _ = try folder.write(dot(3), to: "d/inner/1.pgm")
        _ = try folder.write(dot(3), to: "loose.pgm")
        let error = try #require(throws: DatasetError.self) { try FolderDataset(root: folder.path, options: gray) }
        #expect(error.code == .unreadFormat && error.description.contains("b/2.tif") && error.message.contains("TIFF"))
        let set = try FolderDataset(root: folder.path, options: skipping)
        #expect(set.classNames == ["a", "b"])
        #expect(set.opening.leftOutSamples == 3 && set.opening.leftOutIdentities == 1)
        #expect(set.problems.map(\.code) == [.unreadFormat, .unreadFormat, .unreadFormat])
        let notes = set.opening.notes.joined(separator: "\n")
        for part in [
            "2 folders have no image that is read, and no identity's label: c, d", "1 folder inside", "d/inner",
            "1 image left out in",
        ] {
            #expect(notes.contains(part), "\(part) in \(notes)")
        }
    }

    @Test func namesNeedNotBeUTF8() throws {
        let folder = try TemporaryFolder()
        _ = try folder.write(dot(1), to: "a/1.pgm")
        // "Müller" in Latin-1.
        let name = folder.path.utf8.map { CChar(bitPattern: $0) } + [0x2F, 0x4D, CChar(bitPattern: 0xFC), 0x6C, 0]
        #expect(mkdir(name, 0o755) == 0)
        let file = name.dropLast() + [0x2F, CChar(bitPattern: 0xE9), 0x2E, 0x70, 0x67, 0x6D, 0]
        let stream = try #require(fopen(Array(file), "w"))
        fwrite(dot(7), 1, dot(7).count, stream)
        fclose(stream)
        let set = try FolderDataset(root: folder.path, options: gray)
        #expect(set.classCount == 2)
        #expect(Set(try (0..<set.sampleCount).map { try set.pixels(of: $0)[0] }) == [1, 7])
    }

    /// DVC and git-annex keep the files elsewhere, and links in the folders.
    @Test func linksAreFollowed() throws {
        let folder = try TemporaryFolder()
        let manager = FileManager.default
        for content in [dot(1), dot(1) + [0]] {
            try? manager.removeItem(atPath: folder.path)
            let target = try folder.write(content, to: "cache/x")
            _ = try folder.write(dot(2), to: "set/b/1.pgm")
            try manager.createDirectory(atPath: folder.path + "/set/a", withIntermediateDirectories: true)
            try manager.createSymbolicLink(atPath: folder.path + "/set/a/1.pgm", withDestinationPath: target)
            let linked = try FolderDataset(root: folder.path + "/set", options: gray)
            _ = try folder.write(content, to: "plain/a/1.pgm")
            _ = try folder.write(dot(2), to: "plain/b/1.pgm")
            let plain = try FolderDataset(root: folder.path + "/plain", options: gray)
            #expect(linked.fingerprint == plain.fingerprint)
            #expect(plain.formerFingerprint == nil)
            #expect(linked.formerFingerprint != nil && linked.formerFingerprint != linked.fingerprint)
            let selection = try ClassSelection(of: linked, labels: 0..<1)
            #expect(selection.formerFingerprint != nil && selection.formerFingerprint != selection.fingerprint)
        }
        // A link to nothing is an image that was not fetched.
        try manager.createSymbolicLink(atPath: folder.path + "/set/a/2.pgm", withDestinationPath: "nowhere")
        let error = try #require(throws: DatasetError.self) {
            try FolderDataset(root: folder.path + "/set", options: gray)
        }
        #expect(error.path?.hasSuffix("a/2.pgm") == true)
        let set = try FolderDataset(root: folder.path + "/set", options: skipping)
        #expect(set.sampleCount == 2 && set.opening.leftOutSamples == 1)
    }

    @Test func whatWasProbablyMeantIsSaid() throws {
        let folder = try TemporaryFolder()
        for index in 0..<4 { _ = try folder.write(dot(UInt8(index)), to: "flat/images/\(index).pgm") }
        _ = try folder.write(Array("0\n0\n1\n1\n".utf8), to: "flat/label.txt")
        let flat = try FolderDataset(root: folder.path + "/flat", options: gray)
        #expect(flat.classCount == 1)
        #expect(flat.opening.hints.first?.contains("label.txt lies beside the folder images") == true)
        for identity in ["x", "y"] { _ = try folder.write(dot(1), to: "deep/train/\(identity)/1.pgm") }
        var error = try #require(throws: DatasetError.self) { try FolderDataset(root: folder.path + "/deep") }
        #expect(error.message.contains("there are folders with images in \(folder.path)/deep/train"))
        error = try #require(throws: DatasetError.self) { try FolderDataset(root: folder.path + "/deep/train/x") }
        #expect(error.message.contains("name the folder above it"))
        error = try #require(throws: DatasetError.self) { try RecordDataset(path: folder.path + "/deep/train") }
        #expect(error.message.contains("kind folder"))
    }

    /// Millions of bad files are counted, not kept.
    @Test func reportsAreBounded() throws {
        let folder = try TemporaryFolder()
        _ = try folder.write(dot(1), to: "a/1.pgm")
        for index in 0..<150 { _ = try folder.write([], to: "b/\(index).jpg") }
        let set = try FolderDataset(root: folder.path, options: skipping)
        #expect(set.opening.leftOutSamples == 150 && set.problems.count == OpeningReport.limit)
        #expect(set.opening.lines.count < 20 && set.opening.lines.contains { $0.contains("150 samples were left out") })
    }
}
