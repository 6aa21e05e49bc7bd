internal import Cluster

/// The layout of a checkpoint's file: `centers` and the other planes, each of the type and extent of its `NumberFormat`, and
/// `ids` i64 [R], the class of each row; or `parameters` and the other planes [N] of the backbone.
struct CheckpointLayout {
    let header: [UInt8]
    /// Lengths of the tensors, in the file's order.
    let parts: [Int]

    init(_ slice: SliceName, rowCount: Int, width: Int, format: TableFormat) {
        var tensors = SafeTensorsLayout.planes(slice, format, rowCount: rowCount, width: width, values: "centers")
        if !slice.isDense {
            tensors.append(.init(name: "ids", dtype: "I64", shape: [rowCount], byteCount: 8 * rowCount))
        }
        header = SafeTensorsLayout.header(
            tensors, metadata: ["format": "partialfc-checkpoint", "version": "1", "slice": slice.description])
        parts = tensors.map(\.byteCount)
    }

    var byteCount: Int { parts.reduce(header.count, +) }
}
