import Configuration
import Dataset
import Foundation
import RunData
import Setup
import Tensors
import TestSupport
import Testing

/// What the coordinator finds when it opens the data.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct TrainingDataTests {
    private func picture(_ value: UInt8) -> [UInt8] { Array("P5 2 2 255\n".utf8) + [value, value, value, value] }

    private func folderConfiguration(_ path: String, _ settings: String...) throws -> RunConfiguration {
        try RunConfiguration(
            yaml: "data: {kind: folder, path: \"\(path)\", image_size: 8, channels: 1}", settings: settings)
    }

    /// A file of features with these labels.
    private func featureConfiguration(
        _ labels: [Int64], classes: Int = 0, in folder: TemporaryFolder
    ) throws -> RunConfiguration {
        let path = folder.path + "/features.safetensors"
        let features = Tensor([Float](repeating: 1, count: labels.count * 2), shape: [labels.count, 2])
        try SafeTensors(tensors: ["features": features, "labels": Tensor(labels)]).write(to: path)
        return try RunConfiguration(
            yaml:
                "data: {kind: features, path: \"\(path)\", classes: \(classes)}\nbackbone: {name: none, embedding_size: 2}",
            settings: [])
    }

    private func said(_ configuration: RunConfiguration) throws -> (said: [String], resolved: RunConfiguration) {
        var said: [String] = []
        let resolved = try configuration.countingData { said.append($0) }
        return (said, resolved)
    }

    @Test func oneClassIsRefusedWithWhatWasMeant() throws {
        let folder = try TemporaryFolder()
        for index in 0..<4 { _ = try folder.write(picture(UInt8(index)), to: "images/\(index).pgm") }
        _ = try folder.write(Array("0\n0\n1\n1\n".utf8), to: "label.txt")
        let error = #expect(throws: ConfigurationError.self) { try said(folderConfiguration(folder.path)) }
        #expect(error?.key == "data.path")
        #expect(error?.problem.contains("only one class (4 samples)") == true)
        #expect(error?.problem.contains("label.txt lies beside the folder images") == true)
    }

    @Test func equalLabelsAreRefusedUnlessClassesAreGiven() throws {
        let folder = try TemporaryFolder()
        let error = #expect(throws: ConfigurationError.self) {
            try said(featureConfiguration([3, 3, 3], in: folder))
        }
        #expect(error?.problem.contains("all 3 samples have the same label, 3, of 4") == true)
        let meant = try said(featureConfiguration([3, 3, 3], classes: 10, in: folder))
        #expect(meant.said.contains { $0.contains("the same label") } && meant.resolved.data.classes == 10)
    }

    @Test func unlikelyDataAreWarnedAbout() throws {
        let folder = try TemporaryFolder()
        #expect(try said(featureConfiguration([0, 1, 0, 1], in: folder)).said.isEmpty)
        let single = try said(featureConfiguration([0, 1, 2, 3], in: folder)).said
        #expect(single.contains { $0.contains("none of the 4 classes has a second sample") })
        let many = try said(featureConfiguration([0, 500, 0, 500], in: folder)).said
        #expect(many.contains { $0.contains("501 classes but 4 samples, of 2 of them") })
        #expect(try said(featureConfiguration([0, 500, 0, 500], classes: 501, in: folder)).said.isEmpty)
        let error = #expect(throws: ConfigurationError.self) {
            try said(featureConfiguration([0, 2_000_000_000, 0], in: folder))
        }
        #expect(error?.problem.contains("2000000001 classes but 3 samples") == true)
    }

    @Test func whatWasLeftOutIsSaidOrFatal() throws {
        let folder = try TemporaryFolder()
        for name in ["a/1", "a/2", "b/1", "b/2"] { _ = try folder.write(picture(1), to: name + ".pgm") }
        for index in 0..<20 { _ = try folder.write([0x49, 0x49, 0x2A, 0], to: "c/\(index).tif") }
        let found = try said(folderConfiguration(folder.path))
        #expect(found.resolved.data.classes == 2 && found.resolved.data.samples == 4)
        #expect(found.said.count { $0.contains("kind TIFF") } == 10)
        #expect(found.said.contains { $0.contains("20 samples were left out in all") })
        #expect(found.said.contains { $0.contains("no identity's label: c") })
        #expect(throws: DatasetError.self) { try said(folderConfiguration(folder.path, "data.corrupt_images=fail")) }
    }

    /// Runs that began when the fingerprint of linked data was that of the links go on.
    @Test func formerFingerprintsAreAccepted() throws {
        let folder = try TemporaryFolder()
        for name in ["a/1", "a/2", "b/1", "b/2"] {
            let target = try folder.write(picture(1), to: "store/" + name.replacing("/", with: "-"))
            let link = folder.path + "/set/" + name + ".pgm"
            try FileManager.default.createDirectory(
                atPath: (link as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
            try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: target)
        }
        let set = try FolderDataset(root: folder.path + "/set")
        let former = String(try #require(set.formerFingerprint), radix: 16)
        for fingerprint in [former, String(set.fingerprint, radix: 16)] {
            let setting = "data.fingerprint=\"\(fingerprint)\""
            let resolved = try said(folderConfiguration(folder.path + "/set", setting)).resolved
            #expect(resolved.data.fingerprint == fingerprint && resolved.data.samples == 4)
        }
        #expect(throws: ConfigurationError.self) {
            try said(folderConfiguration(folder.path + "/set", "data.fingerprint=\"1234abcd\""))
        }
    }

    /// A class of which nothing can be read is left out of every batch, wherever labels and samples are asked for.
    @Test func identitiesThatCannotBeReadAreLeftOut() throws {
        let folder = try TemporaryFolder()
        for name in ["a", "b", "c", "d"] {
            for index in 0..<4 {
                let bytes = name == "c" ? Array("no picture".utf8) : picture(UInt8(index))
                _ = try folder.write(bytes, to: "\(name)/\(index).jpg")
            }
        }
        let settings = ["batch.size=8", "batch.micro_batch=4"]
        var configuration = try folderConfiguration(folder.path).countingData()
        configuration = try RunConfiguration(yaml: configuration.canonicalText, settings: settings)
        let data = try TrainingData(configuration)
        let source = try StepSource(data, configuration, classes: RunSetup(configuration).classes(after: []))
        for step in 0..<8 {
            let labels = try source.labels(step: step, microBatches: 0..<2).array(Int64.self)
            _ = try source.inputs(step: step, microBatches: 0..<2)
            #expect(!labels.contains(2))
            #expect(source.indices(step: step, microBatches: 0..<2).map { Int64(data.label(of: $0)) } == labels)
        }
        #expect(source.replaced.identities == 1 && source.replaced.images > 0)
    }
}
