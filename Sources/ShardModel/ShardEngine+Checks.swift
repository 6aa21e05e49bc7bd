internal import CKernels
internal import Cluster
internal import Model
internal import ParameterStore
internal import PartialFC
internal import Tensors

/// Orders about classes are checked before they are decided: whoever says that it can do one must be able to do it then.
extension ShardEngine {
    /// What an order brings, read when it was checked.
    struct CheckedOrder {
        var operation: ClassOperation
        var rows: Tensor?
        var hash: String
    }

    /// Reads what the operation needs and holds it until the operation comes, or another order is checked.
    ///
    /// - Returns: the hash of its rows; empty if it brings none.
    /// - Throws: `CenterStoreError` or `HeadError` if it cannot be done.
    func check(_ operation: ClassOperation) throws -> String {
        checked = nil
        var registry = head.registry
        try registry.apply(operation)
        let rows = try head.initialRows(for: operation)
        let hash = rows.map(Self.hash) ?? ""
        checked = CheckedOrder(operation: operation, rows: rows, hash: hash)
        return hash
    }

    /// The rows that an operation brings: those that were checked, or, after a restart, those of the file if it has not changed.
    func checkedRows(for operation: ClassOperation) throws -> Tensor? {
        guard case .add(let count, let path, let expected) = operation, !path.isEmpty else { return nil }
        if let checked, checked.hash == expected, case .add(count, path, _) = checked.operation { return checked.rows }
        let rows = try head.initialRows(for: operation)
        if let rows, !expected.isEmpty, case let hash = Self.hash(rows), hash != expected {
            throw HeadError(
                .centers,
                "\(path): the rows have hash \(hash), those that were ordered had \(expected): put the file back, or call the order off with `coordinator cancel`"
            )
        }
        return rows
    }

    private static func hash(_ rows: Tensor) -> String {
        let value = withExtendedLifetime(rows) { pfc_head_hash(rows.rawPointer, rows.byteCount, 0) }
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
