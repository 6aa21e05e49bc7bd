internal import Configuration
internal import Model
internal import ParameterStore

/// Keys of the head that name how numbers are kept, as values.
extension RunConfiguration.Head {
    /// `storage` and `momentum_storage`.
    var format: TableFormat {
        get throws(ConfigurationError) {
            TableFormat(
                rows: try value(storage, "head.storage"), momentum: try value(momentumStorage, "head.momentum_storage"))
        }
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

    /// `compute`; `auto` is bf16 where rows are and the kernels can.
    func computation(embeddingSize: Int) throws(ConfigurationError) -> Compute {
        if compute != "auto" { return try value(compute, "head.compute") }
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
