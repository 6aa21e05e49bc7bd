import Configuration
import Foundation
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ConfigurationFileTests {
    @Test func defaultsAreValid() throws {
        #expect(try RunConfiguration(yaml: "") == RunConfiguration())
    }

    @Test func fileThenSettingsOverrideDefaults() throws {
        let configuration = try RunConfiguration(
            yaml: "head:\n  sample_rate: 0.25\n  slices: 8\nbatch: {size: 64, micro_batch: 16}\n",
            settings: ["head.slices=32", "seed=7", "evaluation.sets=[a.bin, b.bin]", "data.path=5"])
        #expect(configuration.head.sampleRate == 0.25)
        #expect(configuration.head.slices == 32)
        #expect(configuration.batch.size == 64)
        #expect(configuration.microBatchCount == 4)
        #expect(configuration.seed == 7)
        #expect(configuration.evaluation.sets == ["a.bin", "b.bin"])
        #expect(configuration.data.path == "5")
    }

    @Test(arguments: [
        ("head: {sample_rat: 0.1}", "head.sample_rat"),
        ("head: 3", "head"),
        ("head: {slices: 12}", "head.slices"),
        ("head: {scale: .nan}", "head.scale"),
        ("head: {storage: int8}", "head.storage"),
        ("head: {momentum_storage: f16}", "head.momentum_storage"),
        ("head: {momentum_storage: none}", "head.momentum_storage"),
        ("optimizer: {name: adam}", "optimizer.name"), ("optimizer: {decay: none}", "optimizer.decay"),
        ("optimizer: {betas: [0.8, 0.9]}", "optimizer.betas"), ("optimizer: {moments: bf16}", "optimizer.moments"),
        ("optimizer: {name: adamw, momentum: 0.8}", "optimizer.momentum"),
        ("optimizer: {name: adamw, betas: [0.9]}", "optimizer.betas"),
        ("optimizer: {name: adamw, betas: [0.9, 1]}", "optimizer.betas"),
        ("optimizer: {name: adamw, betas: [a, b]}", "optimizer.betas[0]"),
        ("optimizer: {name: adamw, epsilon: 0}", "optimizer.epsilon"),
        ("optimizer: {name: adamw, moments: int8}", "optimizer.moments"),
        ("{optimizer: {name: adamw}, head: {momentum_storage: bf16}}", "head.momentum_storage"),
        ("head: {rounding: up}", "head.rounding"),
        ("head: {compute: int8}", "head.compute"),
        ("data: {augment: [blur]}", "data.augment"), ("data: {augment: [crop=1.5]}", "data.augment"),
        ("data: {augment: [crop=0]}", "data.augment"), ("data: {augment: [crop=nan]}", "data.augment"),
        ("data: {augment: [crop=]}", "data.augment"), ("data: {augment: [crop, crop=0.1]}", "data.augment"),
        ("data: {augment: [gray]}", "data.augment"), ("data: {augment: [\"\"]}", "data.augment"),
        ("{data: {kind: features, augment: [crop]}, backbone: {name: none}}", "data.augment"),
        ("batch: {size: 100, micro_batch: 32}", "batch.micro_batch"),
        ("head: {sample_rate: much}", "head.sample_rate"),
        ("batch: {size: 1048576, micro_batch: 8}", "batch.micro_batch"),
        ("data: {samples: 9223372036854775807}", "data.samples"),
        ("schedule: {steps: 9223372036854775807}", "schedule"),
        ("data: {samples: 1099511627776}\nschedule: {epochs: 999999}", "schedule"),
        ("data: {kind: features}", "backbone.name"),
        ("optimizer: {not_finite: ignore}", "optimizer.not_finite"),
        ("optimizer: {not_finite_limit: -1}", "optimizer.not_finite_limit"),
        ("checkpoint: {every_steps: -1}", "checkpoint.every_steps"),
        ("checkpoint: {every_minutes: -0.5}", "checkpoint.every_minutes"),
        ("checkpoint: {keep: -1}", "checkpoint.keep"),
        ("checkpoint: {path: a}", "checkpoint.path"),
        ("cluster: {rebalance: sometimes}", "cluster.rebalance"),
        ("cluster: {moves_at_once: 0}", "cluster.moves_at_once"),
        ("schedule: {stages: 3}", "schedule.stages"), ("schedule: {stages: {until: 0.5}}", "schedule.stages"),
        ("schedule: {stages: [0.5]}", "schedule.stages[0]"),
        ("schedule: {stages: [{m2: 0.5}, {m2: 1}]}", "schedule.stages[0]"),
        ("schedule: {stages: [{until: 1}, {m2: 1}]}", "schedule.stages[1]"),
        ("schedule: {stages: [{until: 0.5}, {}]}", "schedule.stages"),
        ("schedule: {stages: [{until: 0}]}", "schedule.stages[0].until"),
        ("schedule: {stages: [{until: 1.5}]}", "schedule.stages[0].until"),
        ("schedule: {stages: [{until: 0.6}, {until: 0.6}]}", "schedule.stages[1].until"),
        ("schedule: {stages: [{until: often}]}", "schedule.stages[0].until"),
        ("schedule: {stages: [{until: [1]}]}", "schedule.stages[0].until"),
        ("schedule: {stages: [{}, {}]}", "schedule.stages[0]"),
        ("schedule: {stages: [{sample_rat: 1}]}", "schedule.stages[0].sample_rat"),
        ("schedule: {stages: [{sample_rate: 2}]}", "schedule.stages[0].sample_rate"),
        ("schedule: {stages: [{sample_rate: -0.1 to 1}]}", "schedule.stages[0].sample_rate"),
        ("schedule: {stages: [{m1: 0}]}", "schedule.stages[0].m1"),
        ("schedule: {stages: [{m2: 0 to}]}", "schedule.stages[0].m2"),
        ("schedule: {stages: [{m2: 0 to to}]}", "schedule.stages[0].m2"),
        ("schedule: {stages: [{m2: 0 bis 1}]}", "schedule.stages[0].m2"),
        ("schedule: {stages: [{m3: 0 to 1 to 2}]}", "schedule.stages[0].m3"),
        ("schedule: {stages: [{scale: nan}]}", "schedule.stages[0].scale"),
        ("schedule: {stages: [{scale: 0 to 64}]}", "schedule.stages[0].scale"),
        ("schedule: {stages: [{interclass_filter: 1.1}]}", "schedule.stages[0].interclass_filter"),
        ("- 1\n- 2", ""),
        ("a: b: c", ""),
    ])
    func mistakesAreNamed(yaml: String, key: String) {
        let error = #expect(throws: ConfigurationError.self) { try RunConfiguration(yaml: yaml) }
        #expect(error?.key == key)
        #expect(error?.problem.isEmpty == false)
    }

    /// Without any, a run is stored as before there was the key.
    @Test func augmentationsAreNamedInAList() throws {
        let plain = try RunConfiguration(yaml: "")
        #expect(!plain.canonicalText.contains("augment") && plain.data.changes.isEmpty)
        #expect(try RunConfiguration(yaml: "data: {augment: []}").fingerprint == plain.fingerprint)
        let some = try RunConfiguration(yaml: "data: {channels: 3, augment: [gray=0.05, crop]}")
        #expect(some.data.changes == [.init(name: "gray", probability: 0.05), .init(name: "crop")])
        #expect(try RunConfiguration(stored: some.canonicalText) == some && some.fingerprint != plain.fingerprint)
        #expect(
            try RunConfiguration(yaml: "", settings: ["data.augment=[erase=1]"]).data.changes
                == [.init(name: "erase", probability: 1)])
        let error = #expect(throws: ConfigurationError.self) { try RunConfiguration(yaml: "data: {augment: [blur]}") }
        #expect(
            error?.problem
                == "names blur; use crop, resized_crop, low_resolution, photometric, gray, erase")
    }

    @Test func stagesAreRead() throws {
        let configuration = try RunConfiguration(
            yaml: """
                schedule:
                  steps: 100
                  stages:
                  - {until: 0.6, sample_rate: 0.1, m2: 0 to 0.5}
                  - sample_rate: 1
                    scale: 32
                """)
        let stages = try #require(configuration.schedule.stages)
        #expect(stages.count == 2 && stages[0].until == 0.6 && stages[1].until == nil)
        #expect(stages[0].sampleRate == .init(from: 0.1, to: 0.1) && stages[0].m2 == .init(from: 0, to: 0.5))
        #expect(stages[1].sampleRate == .init(from: 1, to: 1) && stages[1].m2 == nil)
        let text = configuration.canonicalText
        #expect(
            text.contains(#"[{"m2":"0 to 0.5","sample_rate":0.1,"until":0.6},{"sample_rate":1,"scale":32}]"#), "\(text)"
        )
        #expect(try RunConfiguration(stored: text) == configuration)
        let set = try RunConfiguration(
            yaml: "schedule: {steps: 100}",
            settings: ["schedule.stages=[{until: 0.6, sample_rate: 0.1, m2: 0 to 0.5}, {sample_rate: 1, scale: 32}]"])
        #expect(set == configuration && set.fingerprint == configuration.fingerprint)
        #expect(
            try RunConfiguration(yaml: "", settings: ["schedule.stages=[{until: 0.1, m2: 0 to 0.5}]"]).schedule.stages?
                .count == 1)
    }

    /// Without any, a run is stored as before there was the key.
    @Test func stagesAreNotInOlderRuns() throws {
        let plain = RunConfiguration()
        #expect(!plain.canonicalText.contains("stages"))
        #expect(try RunConfiguration(yaml: "schedule: {stages: []}").fingerprint == plain.fingerprint)
        let some = try RunConfiguration(yaml: "schedule: {stages: [{until: 0.5, m2: 0}]}")
        #expect(
            some.differences(from: plain) == [#"schedule.stages: stored [], now [{"m2":0,"until":0.5}]"#],
            "\(some.differences(from: plain))")
        #expect(some.fingerprint != plain.fingerprint)
    }

    @Test func mistakesInStagesAreFound() {
        let yaml = "schedule:\n  stages:\n  - until: 0.5\n    m2: 0.1\n  - sample_rate: 7\n"
        let value = #expect(throws: ConfigurationError.self) { try RunConfiguration(yaml: yaml, name: "r.yaml") }
        #expect(value?.description == "r.yaml:5: schedule.stages[1].sample_rate: is 7, not 0...1")
        let key = #expect(throws: ConfigurationError.self) {
            try RunConfiguration(yaml: "schedule:\n  stages: [{until: 0.5,\n  samplerate: 1}]", name: "r.yaml")
        }
        #expect(
            key?.place == "r.yaml:3" && key?.problem.contains("did you mean schedule.stages[0].sample_rate?") == true)
        let endless = #expect(throws: ConfigurationError.self) {
            try RunConfiguration(
                yaml: """
                    data: {kind: external, classes: 10}
                    backbone: {name: external}
                    schedule: {rate: job, stages: [{until: 0.5, m2: 0}]}
                    """)
        }
        #expect(endless?.key == "schedule.stages[0]" && endless?.problem.contains("schedule.steps is 0") == true)
    }

    /// Names are texts whatever they look like; without any, a run is stored as before there was the key.
    @Test func gradientsOfTheBackboneAreSentInSinglePrecisionAsBefore() throws {
        let plain = try RunConfiguration(yaml: "")
        #expect(try RunConfiguration(yaml: "backbone: {exchange_gradients: f32}").fingerprint == plain.fingerprint)
        let half = try RunConfiguration(yaml: "backbone: {exchange_gradients: bf16}")
        #expect(half.differences(from: plain) == [#"backbone.exchange_gradients: stored "f32", now "bf16""#])
        let error = #expect(throws: ConfigurationError.self) {
            try RunConfiguration(yaml: "backbone: {exchange_gradients: int8}")
        }
        #expect(error?.key == "backbone.exchange_gradients")
    }

    @Test func computeOfTheBackboneIsNotInOlderRuns() throws {
        let plain = RunConfiguration()
        #expect(!plain.canonicalText.contains(#""backbone":{"compute"#))
        #expect(try RunConfiguration(yaml: "backbone: {compute: f32}").fingerprint == plain.fingerprint)
        let half = try RunConfiguration(yaml: "backbone: {compute: bf16}")
        #expect(half.differences(from: plain) == [#"backbone.compute: stored "f32", now "bf16""#])
        let error = #expect(throws: ConfigurationError.self) { try RunConfiguration(yaml: "backbone: {compute: fp8}") }
        #expect(error?.key == "backbone.compute")
    }

    @Test func dropoutIsNotInOlderRuns() throws {
        let plain = RunConfiguration()
        #expect(!plain.canonicalText.contains("dropout"))
        #expect(try RunConfiguration(yaml: "backbone: {dropout: 0}").fingerprint == plain.fingerprint)
        let some = try RunConfiguration(yaml: "backbone: {dropout: 0.4}")
        #expect(some.differences(from: plain) == ["backbone.dropout: stored 0, now 0.4"])
        for wrong in ["1", "-0.1", "1.5"] {
            let error = #expect(throws: ConfigurationError.self) {
                try RunConfiguration(yaml: "backbone: {dropout: \(wrong)}")
            }
            #expect(error?.key == "backbone.dropout")
        }
    }

    @Test func imagesAreSquareUnlessAWidthIsGiven() throws {
        let plain = RunConfiguration()
        #expect(!plain.canonicalText.contains("imageWidth") && plain.data.width == 32)
        #expect(try RunConfiguration(yaml: "data: {image_width: 0}").fingerprint == plain.fingerprint)
        let wide = try RunConfiguration(yaml: "data: {image_size: 48, image_width: 96}")
        #expect(wide.data.imageSize == 48 && wide.data.width == 96)
        #expect(
            wide.differences(from: try RunConfiguration(yaml: "data: {image_size: 48}")) == [
                "data.image_width: stored 0, now 96"
            ])
        #expect(try RunConfiguration(stored: wide.canonicalText).data.width == 96)
        for wrong in ["7", "-1", "1025"] {
            let error = #expect(throws: ConfigurationError.self) {
                try RunConfiguration(yaml: "data: {image_width: \(wrong)}")
            }
            #expect(error?.key == "data.image_width")
        }
    }

    @Test func frozenParametersAreNamedInAList() throws {
        let plain = try RunConfiguration(yaml: "")
        #expect(!plain.canonicalText.contains("frozen"))
        #expect(try RunConfiguration(yaml: "backbone: {frozen: []}").fingerprint == plain.fingerprint)
        let some = try RunConfiguration(yaml: "backbone: {frozen: [conv1.weight, \"layer1.*\", 12]}")
        #expect(some.backbone.frozen == ["conv1.weight", "layer1.*", "12"])
        #expect(try RunConfiguration(stored: some.canonicalText) == some && some.fingerprint != plain.fingerprint)
        #expect(try RunConfiguration(yaml: "", settings: ["backbone.frozen=[fc.*]"]).backbone.frozen == ["fc.*"])
        #expect(some.differences(from: plain).count == 1)
    }

    /// The keys of AdamW are not in what is stored of a run without it: its fingerprint is what it was.
    @Test func sgdIsStoredAsBeforeThereWasAnother() throws {
        let plain = try RunConfiguration(yaml: "")
        #expect(!plain.canonicalText.contains("betas") && !plain.canonicalText.contains("\"decay\""))
        #expect(try RunConfiguration(yaml: "optimizer: {name: sgd, decay: all}").fingerprint == plain.fingerprint)
        let adamW = try RunConfiguration(yaml: "optimizer: {name: adamw, weight_decay: 0.05, decay: weights}")
        let stored = try RunConfiguration(stored: adamW.canonicalText)
        #expect(stored == adamW && stored.fingerprint != plain.fingerprint)
        #expect(stored.optimizer.betas == [0.9, 0.999] && stored.optimizer.moments == "f32")
        #expect(
            adamW.differences(from: plain).map { $0.prefix { $0 != ":" } } == [
                "optimizer.decay", "optimizer.name", "optimizer.weight_decay",
            ])
    }

    @Test func canonicalTextReadsBack() throws {
        var configuration = RunConfiguration()
        configuration.optimizer.weightDecay = 1e-4
        configuration.head.m2 = 0.3
        configuration.seed = .max >> 2
        #expect(try RunConfiguration(yaml: configuration.canonicalText) == configuration)
    }

    @Test func fingerprintIgnoresWhatDoesNotDecideTheResult() throws {
        let base = RunConfiguration()
        var other = base
        other.cluster.shards = 5
        other.cluster.rebalance = "manual"
        other.output = "elsewhere"
        other.checkpoint.everySteps = 100
        other.evaluation.every = 7
        #expect(other.fingerprint == base.fingerprint)
        #expect(other.differences(from: base).isEmpty)
        other.seed = 2
        #expect(other.fingerprint != base.fingerprint)
        other = base
        other.optimizer.notFinite = "stop"
        #expect(other.fingerprint != base.fingerprint)
    }

    /// What an older version stored has no `head.sampling`: it goes on with the first rule, under its old fingerprint.
    @Test func runsKeepTheirSamplingRule() throws {
        let new = try RunConfiguration(yaml: "seed: 5").decided(like: nil)
        #expect(new.head.sampling == 2 && new.canonicalText.contains(#""sampling":2"#))
        let text = new.canonicalText.replacing(#","sampling":2"#, with: "")
        let old = try RunConfiguration(stored: text)
        #expect(old.canonicalText == text, "nothing is added to what is stored")
        let goingOn = try RunConfiguration(yaml: "seed: 5").decided(like: old)
        #expect(goingOn == old && goingOn.fingerprint == old.fingerprint && goingOn.differences(from: old).isEmpty)
        #expect(goingOn.fingerprint != new.fingerprint)
        #expect(try RunConfiguration(yaml: "seed: 5").decided(like: new) == new)
        let first = try RunConfiguration(yaml: "seed: 5\nhead: {sampling: 1}")
        #expect(first.decided(like: nil) == old && first.decided(like: new) == old)
        #expect(first.differences(from: new) == ["head.sampling: stored 2, now 1"])
        #expect(new.differences(from: old) == ["head.sampling: stored 1, now 2"])
        #expect(throws: ConfigurationError.self) { try RunConfiguration(yaml: "head: {sampling: 3}") }
    }

    /// Runs of older versions promise what `exact` says, and keep their fingerprint.
    @Test func thePromiseIsPartOfTheFingerprintOnlyIfItIsTheWeakerOne() throws {
        let exact = try RunConfiguration(yaml: "seed: 5\ndeterminism: exact")
        let unsaid = try RunConfiguration(yaml: "seed: 5")
        let logged = try RunConfiguration(yaml: "seed: 5\ndeterminism: logged")
        #expect(exact == unsaid && !exact.canonicalText.contains("determinism"))
        #expect(exact.fingerprint != logged.fingerprint)
        #expect(try RunConfiguration(stored: exact.canonicalText).determinism == "exact")
        #expect(try RunConfiguration(stored: logged.canonicalText) == logged)
        #expect(logged.differences(from: exact) == [#"determinism: stored "exact", now "logged""#])
        #expect(throws: ConfigurationError.self) { try RunConfiguration(yaml: "determinism: perhaps") }
    }

    @Test func differencesNameTheKeyAndBothValues() {
        var stored = RunConfiguration()
        stored.head.scale = 32
        stored.data.path = "/data/a"
        var now = stored
        #expect(now.differences(from: stored).isEmpty)
        now.head.scale = 64
        now.data.path = "/data/b"
        now.data.flip = true
        now.evaluation.sets = ["lfw.bin"]
        now.schedule.decayPower = 2.5
        now.output = "elsewhere"
        #expect(
            now.differences(from: stored) == [
                "data.flip: stored false, now true", "data.path: stored \"/data/a\", now \"/data/b\"",
                "evaluation.sets: stored [], now [\"lfw.bin\"]", "head.scale: stored 32, now 64",
                "schedule.decay_power: stored 2, now 2.5",
            ])
    }

    @Test func checkpointsAreInTheOutputUnlessSaidOtherwise() {
        var configuration = RunConfiguration()
        configuration.output = "runs/7"
        #expect(configuration.checkpointDirectory == "runs/7/checkpoints")
        configuration.checkpoint.directory = "/shared/7"
        #expect(configuration.checkpointDirectory == "/shared/7")
    }

    /// docs/configuration.md has a row for every key, with its default.
    @Test func everyKeyIsDocumented() throws {
        let page = try String(
            contentsOf: URL(filePath: #filePath).deletingLastPathComponent()
                .appending(path: "../../docs/configuration.md").standardized, encoding: .utf8)
        var section = ""
        var documented: Set<String> = []
        for line in page.split(separator: "\n") {
            if line.hasPrefix("## ") { section = String(line.dropFirst(3)) }
            guard line.hasPrefix("| `"), let key = line.dropFirst(3).split(separator: "`").first else { continue }
            documented.insert(section == "Top level" ? String(key) : "\(section).\(key)")
        }
        for key in RunConfiguration.keys { #expect(documented.contains(key), "\(key) is not documented") }
    }
}
