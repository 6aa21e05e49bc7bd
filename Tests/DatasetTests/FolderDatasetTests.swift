import Dataset
import Foundation
import Tensors
import TestSupport
import Testing

private func write(_ images: [(String, UInt8)], to folder: TemporaryFolder) throws {
    for (name, value) in images {
        _ = try folder.write(pgm([UInt8](repeating: value, count: 4), width: 2, height: 2), to: name)
    }
}

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct FolderDatasetTests {
    @Test func sortedNamesAreLabels() throws {
        let folder = try TemporaryFolder()
        try write([("b/2.pgm", 3), ("b/10.pgm", 2), ("a/x.PGM", 1), ("c/y.pgm", 4)], to: folder)
        _ = try folder.write([1, 2, 3], to: "a/notes.txt")
        _ = try folder.write([1], to: "empty/readme.md")
        let set = try FolderDataset(root: folder.path)
        #expect(set.classNames == ["a", "b", "c"])
        #expect(set.imageShape == ImageShape(channels: 1, height: 2, width: 2))
        #expect((0..<4).map { set.label(of: $0) } == [0, 1, 1, 2])
        #expect(try (0..<4).map { try set.pixels(of: $0)[0] } == [1, 2, 3, 4])
    }

    @Test func theFormatIsFoundOut() throws {
        let folder = try TemporaryFolder()
        try write([("a/1.pgm", 1)], to: folder)
        #expect(try DatasetReader.open(path: folder.path) is FolderDataset)
        var writer = RecordWriter()
        writer.add(key: 1, image: pgm([1, 2, 3, 4], width: 2, height: 2))
        let path = try writer.write(to: folder)
        #expect(try DatasetReader.open(path: folder.path) is RecordDataset)
        #expect(try DatasetReader.open(path: path) is RecordDataset)
    }

    @Test func problemsNameTheFile() throws {
        let folder = try TemporaryFolder()
        #expect(throws: DatasetError.self) { try FolderDataset(root: folder.path) }
        #expect(throws: DatasetError.self) { try FolderDataset(root: folder.path + "/nowhere") }
        try write([("a/1.pgm", 1)], to: folder)
        _ = try folder.write([], to: "a/2.jpg")
        let error = try #require(throws: DatasetError.self) { try FolderDataset(root: folder.path) }
        #expect(error.index == 1 && error.path?.hasSuffix("a/2.jpg") == true)
        let set = try FolderDataset(root: folder.path, options: DatasetOptions(badSamples: .skip))
        #expect(set.sampleCount == 1 && set.problems.count == 1)
        _ = try folder.write([9, 9, 9], to: "a/2.jpg")
        let corrupt = try FolderDataset(root: folder.path)
        let decoding = try #require(throws: DatasetError.self) { try corrupt.pixels(of: 1) }
        #expect(decoding.code == .corruptImage && decoding.index == 1)
    }

    @Test func selectionsRelabelDensely() throws {
        let folder = try TemporaryFolder()
        try write(
            [("a/1.pgm", 1), ("b/1.pgm", 2), ("b/2.pgm", 3), ("c/1.pgm", 4), ("d/1.pgm", 5), ("d/2.pgm", 6)], to: folder
        )
        let base = try FolderDataset(root: folder.path)
        let pairs = try ClassSelection(of: base, minimumImages: 2)
        #expect(pairs.originalLabels == [1, 3])
        #expect((0..<4).map { pairs.label(of: $0) } == [0, 0, 1, 1])
        #expect(try (0..<4).map { try pairs.pixels(of: $0)[0] } == [2, 3, 5, 6])
        #expect(try ClassSelection(of: base, labels: 0..<2).sampleCount == 3)
        #expect(throws: DatasetError.self) { try ClassSelection(of: base, labels: 7..<9) }
        #expect(pairs.fingerprint != base.fingerprint)
        let (training, heldOut) = try ClassSelection.split(base, heldOutClasses: 1, seed: 5)
        #expect(Set(training.originalLabels).isDisjoint(with: heldOut.originalLabels))
        #expect(training.classCount == 3 && heldOut.classCount == 1 && heldOut.sampleCount == 2)
        #expect(throws: DatasetError.self) { try ClassSelection.split(base, heldOutClasses: 3, seed: 5) }
    }

    @Test func storedFeaturesAreChecked() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/features.safetensors"
        try SafeTensors(tensors: [
            "features": Tensor([1, 2, 3, 4, 5, 6] as [Float], shape: [3, 2]), "labels": Tensor([0, 4, 1] as [Int64]),
        ]).write(to: path)
        let set = try FeatureDataset(path: path)
        #expect(set.classCount == 5 && set.sampleCount == 3 && set.embeddingSize == 2)
        let (features, labels) = set.samples([2, 0])
        #expect(features.array(Float.self) == [5, 6, 1, 2])
        #expect(labels.array(Int64.self) == [1, 0])
        let error = try #require(throws: DatasetError.self) { try FeatureDataset(path: path, classCount: 4) }
        #expect(error.code == .labelOutOfRange && error.index == 1)
        try SafeTensors(tensors: [
            "features": Tensor([1, 2] as [Float], shape: [1, 2]), "labels": Tensor([0, 1] as [Int64]),
        ])
        .write(to: path)
        #expect(throws: DatasetError.self) { try FeatureDataset(path: path) }
    }
}
