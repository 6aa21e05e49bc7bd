import Configuration
import Foundation
import TestSupport
import Testing

/// Runs whose samples and network are those of a job from outside.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ExternalRunTests {
    private static let yaml = """
        data: {kind: external, classes: 1000}
        backbone: {name: external, embedding_size: 64}
        schedule: {rate: job}
        """

    private func run(_ settings: String...) throws -> RunConfiguration {
        try RunConfiguration(yaml: Self.yaml, settings: settings)
    }

    @Test func goesOnUntilTheJobEnds() throws {
        let endless = try run()
        #expect(endless.isExternal && endless.isEndless && endless.jobSetsRate && !endless.jobGoesBackFreely)
        #expect(endless.totalSteps == (1 << 48) - 1 && endless.warmupSteps == 0)
        let counted = try run("schedule.steps=70", "cluster.job_goes_back=allow")
        #expect(!counted.isEndless && counted.totalSteps == 70 && counted.jobGoesBackFreely)
        let planned = try run("schedule.rate=plan", "schedule.steps=100", "schedule.warmup=0.1")
        #expect(!planned.jobSetsRate && planned.warmupSteps == 10)
        let constant = try run("schedule.rate=plan", "schedule.warmup=0", "schedule.decay_power=0")
        #expect(constant.totalSteps == RunConfiguration.endlessSteps)
    }

    @Test func theStoredTextIsTheSameRun() throws {
        let run = try run("cluster.job_goes_back=allow")
        let stored = try RunConfiguration(stored: run.canonicalText)
        #expect(stored == run && stored.fingerprint == run.fingerprint)
        #expect(try self.run().fingerprint == run.fingerprint, "the cluster's keys do not decide the result")
        let planned = try self.run("schedule.rate=plan", "schedule.steps=9")
        #expect(
            planned.differences(from: run) == [
                #"schedule.rate: stored "job", now "plan""#, "schedule.steps: stored 0, now 9",
            ])
    }

    /// Runs of older versions keep their text and their fingerprint.
    @Test func otherRunsAreStoredWithoutTheKeys() throws {
        let plain = try RunConfiguration(yaml: "")
        #expect(!plain.canonicalText.contains("\"rate\"") && !plain.canonicalText.contains("job_goes_back"))
        let written = try RunConfiguration(yaml: "{schedule: {rate: plan}, cluster: {job_goes_back: ask}}")
        #expect(written == plain && written.canonicalText == plain.canonicalText)
    }

    @Test(arguments: [
        ("backbone.name=none", "backbone.name"), ("data.kind=folder", "backbone.name"),
        ("data.classes=0", "data.classes"),
        ("schedule.rate=often", "schedule.rate"), ("cluster.job_goes_back=never", "cluster.job_goes_back"),
        ("schedule.rate=plan", "schedule.warmup"), ("schedule.warmup=0", "schedule.warmup"),
        ("schedule.learning_rate=0.2", "schedule.learning_rate"), ("schedule.decay_power=1", "schedule.decay_power"),
        ("schedule.epochs=3", "schedule.epochs"), ("data.path=faces", "data.path"),
        ("data.image_size=64", "data.image_size"), ("data.image_width=64", "data.image_width"),
        ("data.channels=3", "data.channels"),
        ("data.maximum_classes=5", "data.maximum_classes"), ("data.minimum_images=2", "data.minimum_images"),
        ("data.held_out_classes=9", "data.held_out_classes"), ("data.flip=true", "data.flip"),
        ("data.shift=1", "data.shift"), ("data.augment=[crop]", "data.augment"),
        ("data.corrupt_images=fail", "data.corrupt_images"), ("data.samples=10", "data.samples"),
        ("data.fingerprint=ab", "data.fingerprint"), ("backbone.depths=[1, 1, 1, 1]", "backbone.depths"),
        ("backbone.widths=[8, 8, 8, 8]", "backbone.widths"), ("backbone.dense_slices=2", "backbone.dense_slices"),
        ("backbone.initial=a.safetensors", "backbone.initial"), ("backbone.graph=ab", "backbone.graph"),
        ("backbone.frozen=[conv1]", "backbone.frozen"), ("optimizer.decay=weights", "optimizer.decay"),
        ("optimizer.clip_norm=1", "optimizer.clip_norm"), ("evaluation.every=5", "evaluation.every"),
        ("evaluation.held_out_pairs=5", "evaluation.held_out_pairs"), ("evaluation.sets=[a.bin]", "evaluation.sets"),
    ])
    func whatHasNoEffectIsRefused(setting: String, key: String) throws {
        let error = #expect(throws: ConfigurationError.self) { try run(setting) }
        #expect(error?.key == key)
    }

    @Test(arguments: [
        ("schedule: {rate: job}", "schedule.rate"), ("cluster: {job_goes_back: allow}", "cluster.job_goes_back"),
        ("backbone: {name: external}", "backbone.name"),
    ])
    func otherRunsHaveNoJob(yaml: String, key: String) throws {
        let error = #expect(throws: ConfigurationError.self) { try RunConfiguration(yaml: yaml) }
        #expect(error?.key == key)
    }

    @Test func theExampleIsValid() throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path
        let run = try RunConfiguration(file: "\(folder)/../../examples/external.yaml")
        #expect(run.isEndless && run.jobSetsRate)
    }
}
