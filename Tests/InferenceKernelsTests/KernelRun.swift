import CInference

/// A case on an instruction set.
struct KernelRun {
    let test: KernelCase
    let set: pfi_isa

    /// The sinks after calls for these rows (or tiles), those of the case by default; nil where the kernel refuses the weights.
    func run(in parts: [Range<Int>]? = nil) -> SinkContents? {
        var contents = SinkContents(test)
        var epilogue = test.epilogue
        let sinks = contents.sinks.map { bytes in
            let sink = test.memory.allocate(bytes: bytes.count, alignment: 4)
            sink.copyMemory(from: bytes, byteCount: bytes.count)
            return sink
        }
        withUnsafeMutableBytes(of: &epilogue.sinks) { bytes in
            for (i, sink) in bytes.bindMemory(to: pfi_sink.self).indices.prefix(sinks.count).enumerated() {
                bytes.bindMemory(to: pfi_sink.self)[sink] = test.sinks[i]
                bytes.bindMemory(to: pfi_sink.self)[sink].data = sinks[i]
            }
        }
        var problem = test.problem
        let packed = pack()
        if packed == nil, test.kernel.operation == .winograd { return nil }
        for part in parts ?? [test.units] { call(&problem, packed, &epilogue, part) }
        for (i, sink) in sinks.enumerated() {
            contents.sinks[i] = [UInt8](UnsafeRawBufferPointer(start: sink, count: contents.sinks[i].count))
        }
        return contents
    }

    private var bits: Int32 { Int32(test.kernel.bits) }

    private func pack() -> UnsafeMutableRawPointer? {
        let problem = test.problem
        switch (test.kernel.operation, test.kernel.bits) {
        case (.convolution, 32):
            let bytes = pfi_packed_bytes_f32(set, problem.taps, problem.channels, problem.outputs)
            let packed = test.memory.allocate(bytes: bytes, alignment: 64)
            pfi_pack_f32(set, test.numberWeights, problem.taps, problem.channels, problem.outputs, packed)
            return packed
        case (.convolution, _):
            let bytes = pfi_packed_bytes_s8(set, bits, problem.taps, problem.channels, problem.outputs)
            let packed = test.memory.allocate(bytes: bytes, alignment: 64)
            pfi_pack_s8(set, bits, test.weights, problem.taps, problem.channels, problem.outputs, packed)
            return packed
        case (.winograd, _):
            let bytes = pfi_packed_bytes_winograd_s8(set, problem.channels, problem.outputs)
            let packed = test.memory.allocate(bytes: bytes, alignment: 64)
            return pfi_pack_winograd_s8(set, bits, test.weights, problem.channels, problem.outputs, packed) == 0
                ? nil : packed
        case (.depthwise, 7), (.depthwise, 8), (.grouped, 7), (.grouped, 8):
            let bytes = pfi_packed_bytes_depthwise_s8(set, bits, problem.taps, test.group, problem.channels)
            let packed = test.memory.allocate(bytes: bytes, alignment: 64)
            pfi_pack_depthwise_s8(set, bits, test.weights, problem.taps, test.group, problem.channels, packed)
            return packed
        default: return nil
        }
    }

    private func call(
        _ problem: inout pfi_problem, _ packed: UnsafeMutableRawPointer?, _ epilogue: inout pfi_epilogue,
        _ rows: Range<Int>
    ) {
        let (begin, end) = (rows.lowerBound, rows.upperBound)
        switch (test.kernel.operation, test.kernel.bits) {
        case (.rows, _): pfi_rows_f32(set, problem.outputs, test.numbers, problem.row_stride, &epilogue, begin, end)
        case (.convolution, 32):
            pfi_convolve_f32(set, &problem, test.numbers, test.numberPadding, packed, &epilogue, begin, end)
        case (.depthwise, 32), (.grouped, 32):
            pfi_depthwise_f32(
                set, &problem, test.numbers, test.numberPadding, test.numberWeights, &epilogue, begin, end)
        case (.convolution, _):
            pfi_convolve_u8s8(
                set, bits, &problem, test.codes, test.codePadding, packed, test.correction, &epilogue, begin, end)
        case (.winograd, _):
            let scratch = test.memory.allocate(
                bytes: pfi_winograd_scratch_bytes(set, problem.channels), alignment: 64)
            pfi_winograd_u8s8(
                set, &test.picture, test.codes, test.codePadding, packed, test.correction, &epilogue, scratch, begin,
                end)
        case (.depthwise, _), (.grouped, _):
            pfi_depthwise_u8s8(
                set, bits, &problem, test.codes, test.codePadding, packed, test.correction, &epilogue, begin, end)
        }
    }
}
