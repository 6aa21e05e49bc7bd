import Model
import ParameterStore

extension TableFormat {
    /// How SGD keeps a table.
    init(rows: NumberFormat, momentum: NumberFormat) {
        self.init(rows: rows, state: Optimizer.sgd(.init(storage: momentum)).rowState)
    }
}
