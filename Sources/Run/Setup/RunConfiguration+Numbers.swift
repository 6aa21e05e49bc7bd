internal import Configuration
internal import Model
internal import ParameterStore

/// Keys of the head that name how numbers are kept, as values.
extension RunConfiguration.Head {
    /// `storage`.
    var rows: NumberFormat {
        get throws(ConfigurationError) { try value(storage, "head.storage") }
    }

    /// `momentum_storage`.
    var momentum: NumberFormat {
        get throws(ConfigurationError) { try value(momentumStorage, "head.momentum_storage") }
    }

    /// `rounding`.
    var roundingOfUpdates: Rounding {
        get throws(ConfigurationError) { try value(rounding, "head.rounding") }
    }

    /// `exchange_rows`; `auto` is what rows are kept as.
    var exchangedRows: NumberFormat {
        get throws(ConfigurationError) {
            try value(exchangeRows == "auto" ? storage : exchangeRows, "head.exchange_rows")
        }
    }

    /// `exchange_gradients`.
    var exchangedGradients: NumberFormat {
        get throws(ConfigurationError) { try value(exchangeGradients, "head.exchange_gradients") }
    }

    /// `sampling`; where it is still open, that of new runs.
    var samplingRule: SamplingRule { sampling.map { SamplingRule(rawValue: $0) ?? .shared } ?? .perSlice }

    /// Whether both exchanges give the same bits: nothing is rounded on its way.
    var isExchangeExact: Bool {
        get throws(ConfigurationError) {
            let (rows, gradients) = (try exchangedRows, try exchangedGradients)
            return rows.rawValue == storage && gradients == .f32
        }
    }

    /// `compute`; `auto` is bf16 where rows are and the kernels can, unless the run's first member decides otherwise.
    func computation(embeddingSize: Int) throws(ConfigurationError) -> Compute {
        if compute != "auto" && compute != Self.openCompute { return try value(compute, "head.compute") }
        let canBeHalf = storage == NumberFormat.bf16.rawValue && Compute.bf16.suits(embeddingSize: embeddingSize)
        return canBeHalf ? .bf16 : .f32
    }

    private func value<Value: RawRepresentable & CaseIterable>(
        _ text: String, _ key: String
    ) throws(ConfigurationError) -> Value where Value.RawValue == String {
        guard let value = Value(rawValue: text) else {
            let known = Value.allCases.map(\.rawValue).joined(separator: ", ")
            throw ConfigurationError(key: key, problem: "is \(text); use one of \(known)")
        }
        return value
    }
}

extension RunConfiguration {
    /// The optimiser of class centers and backbone.
    var rule: Model.Optimizer {
        get throws(ConfigurationError) {
            guard optimizer.isAdamW else {
                return .sgd(
                    .init(
                        momentum: optimizer.momentum, weightDecay: optimizer.weightDecay, storage: try head.momentum))
            }
            let betas = optimizer.betas ?? []
            guard betas.count == 2, let epsilon = optimizer.epsilon,
                let moments = optimizer.moments.flatMap(NumberFormat.init)
            else { throw ConfigurationError(key: "optimizer", problem: "lacks values of AdamW") }
            return .adamW(
                .init(
                    beta1: betas[0], beta2: betas[1], epsilon: Float(epsilon), weightDecay: optimizer.weightDecay,
                    storage: moments))
        }
    }
}
