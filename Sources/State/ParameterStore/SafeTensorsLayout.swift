internal import Cluster
internal import Tensors

/// The header of a safetensors file whose tensors are written at their offsets.
enum SafeTensorsLayout {
    struct Entry {
        var name: String
        var dtype: String
        var shape: [Int]
        var byteCount: Int
    }

    /// Length, JSON and padding to 8, for tensors that lie one after the other in this order. The same arguments give
    /// the same bytes.
    static func header(_ tensors: [Entry], metadata: [String: String]) -> [UInt8] {
        var parts: [String] = []
        let pairs = metadata.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\"\($0.value)\"" }
        parts.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
        var offset = 0
        for tensor in tensors {
            let shape = tensor.shape.map(String.init).joined(separator: ",")
            parts.append(
                "\"\(tensor.name)\":{\"dtype\":\"\(tensor.dtype)\",\"shape\":[\(shape)],\"data_offsets\":[\(offset),\(offset + tensor.byteCount)]}"
            )
            offset += tensor.byteCount
        }
        var json = Array("{\(parts.joined(separator: ","))}".utf8)
        json.append(contentsOf: [UInt8](repeating: 0x20, count: (8 - json.count % 8) % 8))
        return withUnsafeBytes(of: UInt64(json.count).littleEndian) { Array($0) } + json
    }
}

extension SafeTensorsLayout {
    /// A tensor for every plane of a slice; the values are called `values`, or `parameters` of the backbone.
    static func planes(
        _ slice: SliceName, _ format: TableFormat, rowCount: Int, width: Int, values: String
    ) -> [Entry] {
        format.planes.enumerated().map { index, plane in
            Entry(
                index > 0 ? plane.name : slice.isDense ? "parameters" : values, plane.format, rowCount: rowCount,
                width: slice.isDense ? nil : plane.width(of: width))
        }
    }
}

extension SafeTensorsLayout.Entry {
    /// A tensor [R, extent] with the bytes of `rowCount` rows; [N] f32 of the backbone if `width` is nil.
    init(_ name: String, _ format: NumberFormat, rowCount: Int, width: Int?) {
        self.init(
            name: name, dtype: format.dtype.safeTensorsName,
            shape: width.map { [rowCount, format.extent(width: $0)] } ?? [rowCount],
            byteCount: rowCount * format.byteCount(width: width ?? 1))
    }
}
