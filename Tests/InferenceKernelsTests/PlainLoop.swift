import CInference

/// Sinks of a call, as bytes: where nothing was written they are 0xA5.
struct SinkContents: Equatable {
    var sinks: [[UInt8]]

    init(_ test: KernelCase) {
        sinks = zip(test.sinks, test.sinkCounts).map { sink, count in
            [UInt8](repeating: 0xA5, count: count * (sink.kind == PFI_CODES ? 1 : 4))
        }
    }

    /// Every NaN as one. Which of them results is the instruction set's business.
    func withOneNaN(_ test: KernelCase) -> SinkContents {
        var copy = self
        for (i, sink) in test.sinks.enumerated() where sink.kind == PFI_FLOATS {
            copy.sinks[i].withUnsafeMutableBytes { bytes in
                let numbers = bytes.bindMemory(to: UInt32.self)
                for n in numbers.indices where Float(bitPattern: numbers[n]).isNaN { numbers[n] = 0x7FC0_0000 }
            }
        }
        return copy
    }
}

/// What inference.h says, one output at a time.
struct PlainLoop {
    let test: KernelCase

    func run() -> SinkContents {
        var contents = SinkContents(test)
        for row in 0..<test.problem.images * test.problem.rows where test.isAsked(row, test.units) {
            for n in 0..<test.problem.outputs { finish(row, n, sum(row, n), &contents) }
            for (i, sink) in test.sinks.enumerated() where sink.padded > test.problem.outputs {
                for n in test.problem.outputs..<sink.padded {
                    contents.sinks[i][row * sink.stride + n] = UInt8(sink.zero)
                }
            }
        }
        return contents
    }

    private enum Sum {
        case integer(Int32)
        case float(Float)
    }

    private func sum(_ row: Int, _ n: Int) -> Sum {
        let problem = test.problem
        let image = row / problem.rows
        let r = row % problem.rows
        let isDense = test.kernel.operation == .convolution || test.kernel.operation == .winograd
        var integer = test.correction?[n] ?? 0
        var float: Float = 0
        for tap in 0..<problem.taps {
            let offset = problem.offsets.map { Int($0[r * problem.taps + tap]) } ?? r * problem.row_stride
            let from = image * problem.image_stride + offset
            if test.kernel.operation == .rows { return .float(test.numbers![from + n]) }
            let first = isDense ? 0 : n - n % test.group
            for c in isDense ? 0..<problem.channels : first..<first + test.group {
                let w =
                    isDense
                    ? (n * problem.taps + tap) * problem.channels + c
                    : (tap * test.group + c - first) * problem.outputs + n
                if let weights = test.numberWeights {
                    let x = offset < 0 ? test.numberPadding![c] : test.numbers![from + c]
                    float.addProduct(x, weights[w])
                } else {
                    let x = offset < 0 ? test.codePadding![c] : test.codes![from + c]
                    integer += Int32(x) * Int32(test.weights[w])
                }
            }
        }
        return test.kernel.bits == 32 ? .float(float) : .integer(integer)
    }

    private func activate(_ y: Float, _ activation: pfi_activation, _ n: Int) -> Float {
        switch activation.kind {
        case PFI_PRELU: return y > 0 ? y : y * activation.slope[n]
        case PFI_CLIP:
            let t = y > activation.low ? y : activation.low
            return t < activation.high ? t : activation.high
        default: return y
        }
    }

    private func finish(_ row: Int, _ n: Int, _ sum: Sum, _ contents: inout SinkContents) {
        let epilogue = test.epilogue
        var (y, integer) =
            switch sum {
            case .integer(let sum): (Float(sum), sum)
            case .float(let sum): (sum, 0 as Int32)
            }
        if let scale = epilogue.scale { y = y * scale[n] }
        if let bias = epilogue.bias { y = y + bias[n] }
        y = activate(y, epilogue.first, n)
        if let residual = epilogue.residual { y = y + residual[row * epilogue.residual_stride + n] }
        y = activate(y, epilogue.second, n)
        for (i, sink) in test.sinks.enumerated() {
            let at = row * sink.stride + n
            var v = y
            if let factor = sink.factor { v = v * factor[n] + sink.summand[n] }
            switch sink.kind {
            case PFI_SUMS: withUnsafeBytes(of: &integer) { contents.sinks[i].replace(at, $0) }
            case PFI_FLOATS: withUnsafeBytes(of: &v) { contents.sinks[i].replace(at, $0) }
            default:
                var t = v * sink.scale
                t = t > sink.low ? t : sink.low
                t = t < sink.high ? t : sink.high
                contents.sinks[i][at] = UInt8(Int32(t.rounded(.toNearestOrEven)) + sink.zero)
            }
        }
    }
}

extension [UInt8] {
    /// Number `index` of four bytes.
    fileprivate mutating func replace(_ index: Int, _ bytes: UnsafeRawBufferPointer) {
        for (i, byte) in bytes.enumerated() { self[index * 4 + i] = byte }
    }
}
