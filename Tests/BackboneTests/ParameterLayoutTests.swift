import Foundation
import Model
import Tensors
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ParameterLayoutTests {
    @Test(arguments: [
        ("iresnet18", 24_025_600), ("iresnet34", 34_139_328), ("iresnet50", 43_590_848), ("iresnet100", 65_156_160),
    ])
    func insightFaceParameterCounts(name: String, count: Int) throws {
        #expect(try ParameterLayout(.named(name)).parameterCount == count)
    }

    @Test func namesAndShapesAreInsightFaces() throws {
        let layout = try ParameterLayout(.named("iresnet18"))
        #expect(layout["conv1.weight"]?.shape == [64, 3, 3, 3])
        #expect(layout["layer1.0.conv2.weight"]?.shape == [64, 64, 3, 3])
        #expect(layout["layer2.0.downsample.0.weight"]?.shape == [128, 64, 1, 1])
        #expect(layout["layer2.1.downsample.0.weight"] == nil)
        #expect(layout["layer4.1.bn3.running_var"]?.kind == .statistic)
        #expect(layout["fc.weight"]?.shape == [512, 25088])
        #expect(layout["features.weight"]?.kind == .frozen)
        #expect(layout["features.bias"]?.kind == .parameter)
        #expect(layout.segments.first?.name == "conv1.weight" && layout.segments.last?.name == "features.running_var")
        for (a, b) in zip(layout.segments, layout.segments.dropFirst()) {
            #expect(a.range.upperBound == b.range.lowerBound)
        }
    }

    @Test func initialValuesDoNotDependOnTheCut() throws {
        let layout = try ParameterLayout(.named("iresnet-small"))
        let whole = layout.initialValues(in: 0..<layout.count, seed: 9).array(Float.self)
        for sliceCount in [1, 3, 64] {
            var pieces: [Float] = []
            for slice in 0..<sliceCount {
                pieces += layout.initialValues(in: layout.range(ofSlices: slice..<slice + 1, of: sliceCount), seed: 9)
                    .array(Float.self)
            }
            #expect(pieces == whole)
        }
        #expect(layout.initialValues(in: 0..<100, seed: 10).array(Float.self) != Array(whole[0..<100]))
    }

    @Test func initialValuesHaveTheRightDistribution() throws {
        let layout = try ParameterLayout(.named("iresnet-small"))
        let values = layout.initialValues(in: 0..<layout.count, seed: 9).array(Float.self)
        func part(_ name: String) throws -> [Double] { values[try #require(layout[name]).range].map(Double.init) }
        let weights = try part("layer4.0.conv2.weight")
        let n = Double(weights.count)
        let mean = weights.reduce(0, +) / n
        let variance = weights.reduce(0) { $0 + $1 * $1 } / n
        let fourth = weights.reduce(0) { $0 + $1 * $1 * $1 * $1 } / n
        #expect(abs(mean) < 5 * 0.1 / n.squareRoot())
        #expect(abs(variance / 0.01 - 1) < 5 * (2 / n).squareRoot())
        #expect(abs(fourth / 3e-4 - 1) < 5 * (96 / n).squareRoot() / 3)
        let linear = try part("fc.weight")
        #expect(linear.allSatisfy { abs($0) <= 1.0 / 32 } && linear.contains { abs($0) > 0.031 })
        #expect(try part("prelu.weight").allSatisfy { $0 == 0.25 })
        #expect(try part("bn1.running_var").allSatisfy { $0 == 1 })
        #expect(try part("bn1.bias").allSatisfy { $0 == 0 })
    }

    @Test func aFileGivesBackWhatWasWritten() throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("backbone-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = directory.appendingPathComponent("backbone.safetensors").path
        let layout = try ParameterLayout(smallConfiguration())
        let parameters = randomParameters(layout, seed: 3)
        try BackboneFile.write(parameters, layout: layout, to: path, metadata: ["step": "12"])
        let read = try BackboneFile.read(path)
        #expect(read.layout.configuration == smallConfiguration())
        #expect(bits(read.parameters) == bits(parameters))
        let raw = try SafeTensors(contentsOf: path)
        #expect(raw.metadata["step"] == "12")
        #expect(raw.tensors["layer1.0.conv1.weight"]?.shape == [16, 16, 3, 3])
        #expect(throws: BackboneError.self) { try BackboneFile.read(path, configuration: .named("iresnet18")) }
        #expect(throws: BackboneError.self) { try BackboneFile.read(path + ".missing") }
        #expect(throws: BackboneError.self) {
            try BackboneFile.write(parameters, layout: ParameterLayout(.named("iresnet18")), to: path)
        }
    }

    @Test func badConfigurationsAreRefused() {
        func refused(_ change: (inout BackboneConfiguration) -> Void) -> Bool {
            var configuration = smallConfiguration()
            change(&configuration)
            do {
                _ = try ParameterLayout(configuration)
                return false
            } catch { return error.code == .invalidConfiguration }
        }
        #expect(refused { $0.inputHeight = 5000 })
        #expect(refused { $0.widths = [16] })
        #expect(refused { $0.depths = [0, 1] })
        #expect(refused { $0.strides = [3, 1] })
        #expect(refused { $0.embeddingSize = 0 })
        #expect(refused { $0.inputChannels = -1 })
        #expect(!refused { $0.inputHeight = 13 })
        #expect(throws: BackboneError.self) { try BackboneConfiguration.named("resnet50") }
        #expect(throws: BackboneError.self) { try BackboneConfiguration.named("iresnet50", height: 0) }
    }

    @Test func scheduleWarmsUpAndDecays() throws {
        let schedule = LearningRateSchedule(base: 0.4, warmUpSteps: 4, totalSteps: 14)
        #expect((0..<4).map { schedule.rate(at: $0) } == [0.1, 0.2, 0.4 * 3 / 4, 0.4])
        #expect(schedule.rate(at: 4) == 0.4)
        #expect(abs(schedule.rate(at: 9) - 0.1) < 1e-15)
        #expect(schedule.rate(at: 14) == 0 && schedule.rate(at: 1000) == 0)
        let linear = LearningRateSchedule(base: 1, warmUpSteps: 0, totalSteps: 4, power: 1)
        #expect((0..<5).map { linear.rate(at: $0) } == [1, 0.75, 0.5, 0.25, 0])
        let root = LearningRateSchedule(base: 1, warmUpSteps: 0, totalSteps: 4, power: 0.5)
        #expect(abs(root.rate(at: 3) - 0.5) < 1e-12)
        #expect(throws: BackboneError.self) {
            try LearningRateSchedule(base: 1, warmUpSteps: 5, totalSteps: 4).validate()
        }
        #expect(throws: BackboneError.self) {
            try LearningRateSchedule(base: .nan, warmUpSteps: 1, totalSteps: 4).validate()
        }
    }
}
