import Cluster
import Configuration
import Dataset
import ParameterStore
import RunData
import Setup
import Tensors
import TestSupport
import Testing

/// Samples of a step under operations on the classes. Sample i has the feature (i, label).
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct StepSourceTests {
    private static let samples = 90
    private static let labels = 9

    @Test func theNamesOfAugmentationsAreThoseOfTheirKinds() {
        #expect(RunConfiguration.Data.augmentations == PixelChange.Kind.allCases.map(\.rawValue))
    }

    private func configuration(classes: Int, in folder: TemporaryFolder) throws -> RunConfiguration {
        let path = folder.path + "/features.safetensors"
        let features = (0..<Self.samples).flatMap { [Float($0), Float($0 % Self.labels)] }
        let file = SafeTensors(
            tensors: [
                "features": Tensor(features, shape: [Self.samples, 2]),
                "labels": Tensor((0..<Self.samples).map { Int64($0 % Self.labels) }),
            ])
        try file.write(to: path)
        var configuration = RunConfiguration()
        configuration.data.kind = "features"
        configuration.data.path = path
        configuration.data.classes = classes
        configuration.backbone.name = "none"
        configuration.backbone.embeddingSize = 2
        configuration.batch.size = 12
        configuration.batch.microBatch = 2
        configuration.head.slices = 4
        return configuration
    }

    private func source(
        classes: Int, _ operations: [ClassOperation], in folder: TemporaryFolder
    ) throws -> (source: StepSource, setup: RunSetup) {
        let configuration = try configuration(classes: classes, in: folder)
        let data = try TrainingData(configuration)
        #expect(data.classCount == classes)
        #expect(data.labelCount == Self.labels)
        let setup = try RunSetup(try configuration.countingData())
        return (try StepSource(data, configuration, classes: setup.classes(after: operations)), setup)
    }

    /// Sample and label of every position of some steps.
    private func order(_ source: StepSource, steps: Range<Int> = 0..<20) throws -> [(sample: Int, label: Int)] {
        try steps.flatMap { step in
            let indices = source.indices(step: step, microBatches: 0..<6)
            let labels = try source.labels(step: step, microBatches: 0..<6).array(Int64.self).map(Int.init)
            let inputs = try source.inputs(step: step, microBatches: 0..<6)
            #expect(inputs.shape == [12, 2])
            // The features are those of the samples that are named.
            let features = inputs.array(Float.self)
            for (position, index) in indices.enumerated() { #expect(features[2 * position] == Float(index)) }
            // Two workers see the same as one.
            let parts = [0..<4, 4..<6].map { source.indices(step: step, microBatches: $0) }
            #expect(parts.flatMap { $0 } == indices)
            return zip(indices, labels).map { (sample: $0, label: $1) }
        }
    }

    @Test func withoutOperationsTheLabelsAreThoseOfTheData() throws {
        let folder = try TemporaryFolder()
        let (source, _) = try source(classes: Self.labels, [], in: folder)
        for (sample, label) in try order(source) { #expect(label == sample % Self.labels) }
    }

    @Test func samplesOfRetiredClassesAreReplacedAndTheOthersStay() throws {
        let folder = try TemporaryFolder()
        let plain = try order(source(classes: Self.labels, [], in: folder).source)
        let (source, setup) = try source(classes: Self.labels, [.retire([2, 7])], in: folder)
        let after = try order(source)
        for (before, now) in zip(plain, after) {
            #expect(now.label == now.sample % Self.labels && now.label != 2 && now.label != 7)
            if before.label != 2 && before.label != 7 { #expect(before == now) }
        }
        // Going back to what was before gives the same samples again.
        try source.adopt(setup.classes(after: []))
        #expect(try order(source).map(\.sample) == plain.map(\.sample))
    }

    @Test func mergedLabelsAreMapped() throws {
        let folder = try TemporaryFolder()
        let plain = try order(source(classes: Self.labels, [], in: folder).source)
        let operations: [ClassOperation] = [.merge(from: 3, into: 5), .merge(from: 5, into: 0)]
        let after = try order(source(classes: Self.labels, operations, in: folder).source)
        for (before, now) in zip(plain, after) {
            #expect(now.sample == before.sample)
            #expect(now.label == ([3, 5].contains(before.label) ? 0 : before.label))
        }
    }

    @Test func samplesOfClassesThatWereNotAddedYetWait() throws {
        let folder = try TemporaryFolder()
        let (source, setup) = try source(classes: 6, [], in: folder)
        #expect(try order(source).allSatisfy { $0.label < 6 && $0.label == $0.sample % Self.labels })
        try source.adopt(setup.classes(after: [.add(count: 2, path: "")]))
        let after = try order(source)
        #expect(Set(after.map(\.label)) == Set(0..<8))
        #expect(after.allSatisfy { $0.label == $0.sample % Self.labels })
    }

    @Test func someSampleMustHaveAClass() throws {
        let folder = try TemporaryFolder()
        let (source, setup) = try source(classes: Self.labels, [], in: folder)
        let all: [ClassOperation] = [.add(count: 1, path: ""), .retire(SliceSet(0..<Self.labels))]
        let error = #expect(throws: DatasetError.self) { try source.adopt(setup.classes(after: all)) }
        #expect(error?.message.contains("belongs to a class") == true)
        // Nothing has changed.
        #expect(try order(source).allSatisfy { $0.label == $0.sample % Self.labels })
    }
}
