import RunConfiguration
import Testing

@Suite struct ConfigurationFileTests {
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
        ("head: {scale: .nan}", ""),
        ("batch: {size: 100, micro_batch: 32}", "batch.micro_batch"),
        ("head: {sample_rate: much}", "head.sample_rate"),
        ("batch: {size: 1048576, micro_batch: 8}", "batch.micro_batch"),
        ("data: {samples: 9223372036854775807}", "data.samples"),
        ("schedule: {steps: 9223372036854775807}", "schedule"),
        ("data: {samples: 1099511627776}\nschedule: {epochs: 999999}", "schedule"),
        ("data: {kind: features}", "backbone.name"),
        ("- 1\n- 2", ""),
        ("a: b: c", ""),
    ])
    func mistakesAreNamed(yaml: String, key: String) {
        let error = #expect(throws: ConfigurationError.self) { try RunConfiguration(yaml: yaml) }
        #expect(error?.key == key)
        #expect(error?.problem.isEmpty == false)
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
        other.output = "elsewhere"
        #expect(other.fingerprint == base.fingerprint)
        other.seed = 2
        #expect(other.fingerprint != base.fingerprint)
    }
}
