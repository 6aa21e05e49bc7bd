internal import Cluster
internal import Foundation

/// The layout of a snapshot: a safetensors file with a tensor for every plane, `rows` (`parameters` [N] of the backbone)
/// first, each of the type and extent of its `NumberFormat`, then `chunk_steps` i64 [n], `chunk_crcs` i64 [n, planes] (CRC32C of the
/// piece in each plane) and `checks` i64 [2] (CRC32C of the header with its length, and of both tables).
struct SnapshotLayout {
    static let version = "1"

    let header: [UInt8]
    let shape: SliceShape
    private let planeCount: Int

    init(_ slice: SliceName, _ shape: SliceShape) {
        self.shape = shape
        planeCount = shape.format.planes.count
        let tensors =
            SafeTensorsLayout.planes(slice, shape.format, rowCount: shape.rowCount, width: shape.width, values: "rows")
            + [
                .init(name: "chunk_steps", dtype: "I64", shape: [shape.chunkCount], byteCount: 8 * shape.chunkCount),
                .init(
                    name: "chunk_crcs", dtype: "I64", shape: [shape.chunkCount, planeCount],
                    byteCount: 8 * planeCount * shape.chunkCount),
                .init(name: "checks", dtype: "I64", shape: [2], byteCount: 16),
            ]
        header = SafeTensorsLayout.header(
            tensors,
            metadata: [
                "format": "partialfc-snapshot", "version": Self.version, "slice": slice.description,
                "chunk_rows": String(shape.chunkRows),
            ])
    }

    /// Where each plane begins.
    var offsets: [Int] {
        var offset = header.count
        return shape.byteCounts.map { count in
            defer { offset += count }
            return offset
        }
    }
    var tablesOffset: Int { shape.byteCounts.reduce(header.count, +) }
    var tablesByteCount: Int { 8 * (1 + planeCount) * shape.chunkCount }
    var checksOffset: Int { tablesOffset + tablesByteCount }
    var byteCount: Int { checksOffset + 16 }
}

/// What a piece of a snapshot is, once it is written.
struct SnapshotChunk: Sendable, Hashable {
    var step: Int
    /// Of each plane.
    var checksums: [UInt32]
}

extension SnapshotLayout {
    /// The tables as they stand in the file: steps, then checksums.
    static func tables(_ chunks: [SnapshotChunk]) -> [UInt8] {
        var bytes: [UInt8] = []
        func append(_ value: Int64) { withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) } }
        for chunk in chunks { append(Int64(chunk.step)) }
        for checksum in chunks.flatMap(\.checksums) { append(Int64(checksum)) }
        return bytes
    }

    static func checks(header: [UInt8], tables: [UInt8]) -> [UInt8] {
        [Checksum.of(header), Checksum.of(tables)].flatMap { checksum in
            withUnsafeBytes(of: Int64(checksum).littleEndian) { Array($0) }
        }
    }

    func chunks(_ tables: [UInt8]) -> [SnapshotChunk] {
        func value(_ index: Int) -> Int64 {
            tables.withUnsafeBytes { Int64(littleEndian: $0.loadUnaligned(fromByteOffset: 8 * index, as: Int64.self)) }
        }
        let count = shape.chunkCount
        return (0..<count).map { index in
            SnapshotChunk(
                step: Int(value(index)),
                checksums: (0..<planeCount).map { plane in
                    UInt32(truncatingIfNeeded: value(count + planeCount * index + plane))
                })
        }
    }
}
