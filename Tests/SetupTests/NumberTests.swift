import Configuration
import Model
import ParameterStore
import Setup
import TestSupport
import Testing

/// How numbers are kept, from the configuration's keys.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct NumberTests {
    private func head(_ settings: String...) throws -> HeadConfiguration {
        try RunSetup(
            RunConfiguration(yaml: "data: {classes: 100, samples: 1000}", settings: settings.map { "head.\($0)" })
        ).head
    }

    @Test func theDefaultIsF32() throws {
        let head = try head()
        #expect(head.format == .f32 && head.rounding == .stochastic && head.compute == .f32)
    }

    @Test func keysAreMapped() throws {
        let head = try head("storage=bf16", "momentum_storage=int8", "rounding=nearest")
        #expect(head.format == TableFormat(rows: .bf16, momentum: .int8))
        #expect(head.rounding == .nearest && head.compute == .bf16)
        #expect(try self.head("storage=bf16", "compute=f32").compute == .f32)
        #expect(try self.head("compute=bf16").compute == .bf16)
        #expect(try self.head("momentum_storage=bf16").compute == .f32)
        let narrow = try RunConfiguration(
            yaml: "data: {classes: 100, samples: 1000}",
            settings: ["head.storage=bf16", "backbone.embedding_size=40"])
        #expect(try RunSetup(narrow).head.compute == .f32)
    }

    /// What `auto` is with rows in bf16, by the first member's kernels.
    @Test func theFirstMemberDecidesWhatIsComputedIn() throws {
        func run(_ settings: String...) throws -> RunSetup {
            try RunSetup(
                RunConfiguration(yaml: "data: {classes: 100, samples: 1000}", settings: settings).decided(like: nil))
        }
        let open = try run("head.storage=bf16")
        #expect(open.isComputeOpen)
        for (kernels, compute) in [
            (HeadKernels.portable, Compute.f32), (.avx2, .fma), (.avx512f, .fma), (.avx512bf16, .bf16),
        ] {
            let decided = try open.deciding(by: kernels)
            #expect(decided.head.compute == compute && !decided.isComputeOpen)
            // A coordinator that goes on, with the configuration as people have it, keeps it.
            let again = try RunConfiguration(
                yaml: "data: {classes: 100, samples: 1000}", settings: ["head.storage=bf16"]
            ).decided(like: decided.configuration)
            #expect(again.fingerprint == decided.configuration.fingerprint)
        }
        #expect(try open.deciding(by: nil).head.compute == .bf16)
        let narrow = try run("head.storage=bf16", "backbone.embedding_size=40")
        #expect(try narrow.deciding(by: .avx512bf16).head.compute == .fma)
        // Nothing is open otherwise, and nothing is added to what is stored.
        for settings in [[], ["head.storage=bf16", "head.compute=bf16"], ["head.compute=fma"]] {
            let configuration = try RunConfiguration(
                yaml: "data: {classes: 100, samples: 1000}", settings: settings)
            let decided = configuration.decided(like: nil)
            #expect(decided.head.compute == configuration.head.compute)
        }
        let old = try RunConfiguration(yaml: "data: {classes: 100, samples: 1000}", settings: ["head.storage=bf16"])
        #expect(old.decided(like: old).head.compute == "auto", "a run that began with auto goes on as it was")
        #expect(try RunSetup(old).head.compute == .bf16)
    }

    /// What `backbone.compute: auto` is, by the first member's kernels, whatever the head does.
    @Test func theFirstMemberDecidesWhatTheBackboneComputesIn() throws {
        func configuration(_ settings: String...) throws -> RunConfiguration {
            try RunConfiguration(
                yaml: "data: {classes: 100, samples: 1000}", settings: ["backbone.compute=auto"] + settings)
        }
        for settings in [[], ["head.storage=bf16"], ["head.compute=fma"]] {
            let open = try RunSetup(
                RunConfiguration(
                    yaml: "data: {classes: 100, samples: 1000}", settings: ["backbone.compute=auto"] + settings
                ).decided(like: nil))
            #expect(open.isComputeOpen && open.backboneCompute == .f32)
            let half = try open.deciding(by: .avx512bf16)
            #expect(half.backboneCompute == .bf16 && !half.isComputeOpen)
            #expect(half.leastKernels(since: open) == .avx512bf16)
            #expect(half.head.compute == (settings == [] ? .f32 : settings[0] == "head.compute=fma" ? .fma : .bf16))
            let single = try open.deciding(by: .avx2)
            #expect(single.backboneCompute == .f32 && !single.isComputeOpen)
            #expect(single.leastKernels(since: open) == (settings == ["head.storage=bf16"] ? .avx2 : nil))
            #expect(try open.deciding(by: nil).backboneCompute == .f32)
            // A coordinator that goes on keeps what was decided.
            for decided in [half, single] {
                let again = try RunConfiguration(
                    yaml: "data: {classes: 100, samples: 1000}", settings: ["backbone.compute=auto"] + settings
                ).decided(like: decided.configuration)
                #expect(again.fingerprint == decided.configuration.fingerprint)
            }
        }
        let plain = try RunConfiguration(yaml: "data: {classes: 100, samples: 1000}").decided(like: nil)
        #expect(try !RunSetup(plain).isComputeOpen)
        let decided = try RunSetup(configuration().decided(like: nil)).deciding(by: .avx2)
        #expect(decided.configuration.fingerprint == plain.fingerprint, "f32 is f32, whoever decided it")
    }

    @Test func dropoutNeedsALayerForIt() throws {
        func setup(_ name: String) throws -> RunSetup {
            try RunSetup(
                RunConfiguration(
                    yaml: "data: {classes: 100, samples: 1000, image_size: 112}",
                    settings: ["backbone.dropout=0.4", "backbone.name=\(name)"]))
        }
        #expect(try setup("r18").configuration.backbone.dropout == 0.4)
        let error = #expect(throws: ConfigurationError.self) { try setup("mbf") }
        #expect(error?.key == "backbone.dropout" && error?.problem.contains("mbf has no dropout layer") == true)
    }

    @Test func noMomentumIsKeptOnlyIfThereIsNone() throws {
        #expect(throws: ConfigurationError.self) { try head("momentum_storage=none") }
        let configuration = try RunConfiguration(
            yaml: "data: {classes: 100, samples: 1000}",
            settings: ["head.momentum_storage=none", "optimizer.momentum=0"])
        #expect(try RunSetup(configuration).head.format.momentum == .none)
    }

    @Test func whatRoundsOnItsWayNeedsTheExchangeNamed() throws {
        let head = try head("exchange=rows", "exchange_rows=int8", "exchange_gradients=bf16")
        #expect(head.exchangedRows == .int8 && head.exchangedGradients == .bf16)
        #expect(try self.head("storage=bf16").exchangedRows == .bf16)
        #expect(try self.head("storage=bf16", "exchange_rows=bf16").exchangedRows == .bf16)
        for settings in ["exchange_rows=bf16", "exchange_gradients=bf16"] {
            for exchange in ["auto", "features"] {
                #expect {
                    try self.head("exchange=\(exchange)", settings)
                } throws: { ($0 as? ConfigurationError)?.key == "head.exchange" }
            }
        }
        // Wider than what is kept.
        #expect(throws: HeadError.self) { try self.head("exchange=rows", "storage=bf16", "exchange_rows=f32") }
    }

    @Test func formatsDecideTheResult() throws {
        let base = RunConfiguration()
        for (key, value) in [
            ("storage", "bf16"), ("momentum_storage", "int8"), ("rounding", "nearest"), ("compute", "f32"),
            ("exchange_rows", "int8"), ("exchange_gradients", "bf16"),
        ] {
            let other = try RunConfiguration(yaml: "", settings: ["head.\(key)=\(value)"])
            #expect(other.fingerprint != base.fingerprint)
            #expect(other.differences(from: base).first?.hasPrefix("head.\(key): ") == true)
        }
    }
}
