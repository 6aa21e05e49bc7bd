internal import StepProtocol

/// The layout of a checkpoint's file: `centers` f32 [R, D], `momentum` f32 [R, D] and `ids` i64 [R], the class of
/// each row; or `parameters` and `momentum` f32 [N] of the backbone.
struct CheckpointLayout {
    let header: [UInt8]
    /// Lengths of the tensors, in the file's order.
    let parts: [Int]

    init(_ slice: SliceName, rowCount: Int, width: Int) {
        let byteCount = rowCount * width * 4
        let tensors: [SafeTensorsLayout.Entry] =
            slice.isDense
            ? [
                .init(name: "parameters", dtype: "F32", shape: [rowCount], byteCount: byteCount),
                .init(name: "momentum", dtype: "F32", shape: [rowCount], byteCount: byteCount),
            ]
            : [
                .init(name: "centers", dtype: "F32", shape: [rowCount, width], byteCount: byteCount),
                .init(name: "momentum", dtype: "F32", shape: [rowCount, width], byteCount: byteCount),
                .init(name: "ids", dtype: "I64", shape: [rowCount], byteCount: 8 * rowCount),
            ]
        header = SafeTensorsLayout.header(
            tensors, metadata: ["format": "partialfc-checkpoint", "version": "1", "slice": slice.description])
        parts = tensors.map(\.byteCount)
    }

    var byteCount: Int { parts.reduce(header.count, +) }
}
