import CInference
import Determinism

/// What a kernel computes.
enum Operation: CaseIterable {
    case convolution, winograd, depthwise, grouped, rows

    /// Whether an output reads a group of channels alone.
    var isDepthwise: Bool { self == .depthwise || self == .grouped }
}

/// A kernel and the width of its operands.
struct Kernel: CustomStringConvertible {
    var operation: Operation
    /// 7 or 8; 32: single precision.
    var bits: Int

    static let all = [
        Kernel(operation: .convolution, bits: 7), Kernel(operation: .convolution, bits: 8),
        Kernel(operation: .convolution, bits: 32), Kernel(operation: .winograd, bits: 7),
        Kernel(operation: .winograd, bits: 8), Kernel(operation: .depthwise, bits: 7),
        Kernel(operation: .depthwise, bits: 8), Kernel(operation: .depthwise, bits: 32),
        Kernel(operation: .grouped, bits: 7), Kernel(operation: .grouped, bits: 8),
        Kernel(operation: .grouped, bits: 32),
        Kernel(operation: .rows, bits: 32),
    ]

    var description: String { "\(operation), \(bits == 32 ? "f32" : "INT\(bits)")" }
}

/// Operands of one call, drawn from a seed: shapes, numbers, epilogue, and what goes where.
final class KernelCase {
    let kernel: Kernel
    let memory = KernelMemory()
    var problem = pfi_problem()
    /// Where the problem is a picture.
    var picture = pfi_picture()
    var epilogue = pfi_epilogue()
    var sinks: [pfi_sink] = []
    /// Elements of each sink.
    var sinkCounts: [Int] = []
    /// Rows; of Winograd tiles.
    var units = 0..<0
    var codes = UnsafePointer<UInt8>?.none
    var numbers = UnsafePointer<Float>?.none
    var codePadding = UnsafePointer<UInt8>?.none
    var numberPadding = UnsafePointer<Float>?.none
    var weights: [Int8] = []
    var numberWeights = UnsafePointer<Float>?.none
    var correction = UnsafePointer<Int32>?.none
    private var random: KeyedRandom

    /// - Parameter extreme: all codes and weights at the ends of their ranges, as many channels as a sum of 16 bits sees, and more.
    init(_ kernel: Kernel, seed: UInt64, extreme: Bool = false) {
        self.kernel = kernel
        random = KeyedRandom(seed: seed, purpose: .test, UInt64(kernel.bits), kernel.operation.isDepthwise ? 1 : 0)
        drawShape(extreme)
        drawInput(extreme)
        drawWeights(extreme)
        drawEpilogue(isSimple: oneIn(2))
    }

    func oneIn(_ count: Int) -> Bool { random.below(UInt64(count)) == 0 }

    func draw(_ range: ClosedRange<Int>) -> Int { range.lowerBound + Int(random.below(UInt64(range.count))) }

    /// Numbers of about this size; with some that are no numbers, or infinite, if they are `odd`.
    private func floats(_ count: Int, _ size: Float, odd: Bool = false) -> UnsafeMutablePointer<Float> {
        let numbers = memory.allocate(count, of: Float.self)
        for i in 0..<count {
            numbers[i] = Float(draw(-1_000_000...1_000_000)) * 1e-6 * size
            if odd, oneIn(29) { numbers[i] = [.nan, .infinity, -.infinity][draw(0...2)] }
            if oneIn(31) { numbers[i] = oneIn(2) ? 0 : -0.0 }
        }
        return numbers
    }

    // MARK: Shapes

    private func drawShape(_ extreme: Bool) {
        problem.images = kernel.operation == .rows ? 1 : draw(1...3)
        problem.rows = draw(1...(oneIn(4) ? 150 : 20))
        problem.taps = kernel.operation == .rows || oneIn(2) ? 1 : oneIn(2) ? 9 : draw(1...12)
        problem.outputs = oneIn(2) ? 16 * draw(1...6) : draw(1...140)
        problem.channels = oneIn(2) ? 16 * draw(1...6) : draw(1...40)
        if oneIn(8) { problem.channels = 4 }
        if extreme || oneIn(16), kernel.operation == .convolution {
            // Several chunks, in every way of cutting them.
            (problem.channels, problem.outputs, problem.rows) = (draw(200...2100), draw(1...40), draw(1...8))
        }
        if kernel.operation.isDepthwise, oneIn(12) { problem.taps = 49 }
        if kernel.operation == .grouped {
            problem.group = [2, 4, 8][draw(0...2)]
            problem.outputs = (problem.outputs + problem.group - 1) / problem.group * problem.group
        }
        if kernel.bits < 32 { problem.channels = (problem.channels + 3) / 4 * 4 }
        switch kernel.operation {
        case .convolution: break
        case .winograd:
            // As many as are exact with any weights.
            let most = !extreme ? 6 : kernel.bits == 7 ? 29 : 7
            (problem.taps, problem.channels) = (9, 16 * draw(1...most))
        default: problem.channels = problem.outputs
        }
        let pixel = problem.channels + (oneIn(3) ? draw(0...8) : 0)
        problem.row_stride = pixel
        if kernel.operation == .rows || (problem.taps == 1 && !oneIn(3)) {
            problem.image_stride = problem.rows * pixel
        } else if kernel.operation == .winograd || (problem.taps == 9 && oneIn(2)) {
            drawPicture(pixel)
        } else {
            drawOffsets(pixel)
        }
        let all = kernel.operation == .winograd ? pfi_winograd_tiles(&picture) : problem.images * problem.rows
        let begin = oneIn(2) ? 0 : draw(0...all - 1)
        units = begin..<(oneIn(2) ? all : draw(begin...all))
    }

    /// 3×3 over a picture with a border of one.
    private func drawPicture(_ pixel: Int) {
        let (width, height) = (draw(1...12), draw(1...12))
        let stride = kernel.operation == .winograd ? 1 : draw(1...2)
        let (across, down) = ((width - 1) / stride + 1, (height - 1) / stride + 1)
        problem.rows = across * down
        problem.image_stride = width * height * pixel
        let offsets = memory.allocate(problem.rows * 9, of: Int32.self)
        for row in 0..<problem.rows {
            for tap in 0..<9 {
                let (y, x) = (row / across * stride + tap / 3 - 1, row % across * stride + tap % 3 - 1)
                let isInside = (0..<height).contains(y) && (0..<width).contains(x)
                offsets[row * 9 + tap] = isInside ? Int32((y * width + x) * pixel) : -1
            }
        }
        problem.offsets = UnsafePointer(offsets)
        picture = pfi_picture(
            images: problem.images, height: height, width: width, channels: problem.channels, outputs: problem.outputs,
            image_stride: problem.image_stride, line_stride: width * pixel, pixel_stride: pixel)
    }

    /// Whether a row is among those that a call for units is to write.
    func isAsked(_ row: Int, _ units: Range<Int>) -> Bool {
        guard kernel.operation == .winograd else { return units.contains(row) }
        let (across, down) = ((picture.width + 3) / 4, (picture.height + 3) / 4)
        let r = row % problem.rows
        let line = row / problem.rows * down + r / picture.width / 4
        return units.contains(line * across + r % picture.width / 4)
    }

    /// Any pixels, padding among them.
    private func drawOffsets(_ pixel: Int) {
        let pixels = draw(1...30)
        problem.image_stride = pixels * pixel
        let offsets = memory.allocate(problem.rows * problem.taps, of: Int32.self)
        for i in 0..<problem.rows * problem.taps {
            offsets[i] = oneIn(5) ? -Int32(draw(1...2)) : Int32(draw(0...pixels - 1) * pixel)
        }
        problem.offsets = UnsafePointer(offsets)
    }

    /// Channels of a group of a depthwise convolution.
    var group: Int { max(1, problem.group) }

    // MARK: Numbers

    private func drawInput(_ extreme: Bool) {
        // Nothing lies behind the last pixel's channels.
        let count = problem.images * problem.image_stride - (problem.row_stride - problem.channels)
        if kernel.bits == 32 {
            numbers = UnsafePointer(floats(count, 3, odd: kernel.operation == .rows && oneIn(4)))
            numberPadding = UnsafePointer(floats(problem.channels, 1))
        } else {
            codes = UnsafePointer(drawCodes(count, extreme))
            codePadding = UnsafePointer(drawCodes(problem.channels, extreme))
        }
    }

    /// Random, all at one end, or alternating.
    private func drawCodes(_ count: Int, _ extreme: Bool) -> UnsafeMutablePointer<UInt8> {
        let most = kernel.bits == 8 ? 255 : 127
        let kind = extreme ? draw(1...3) : draw(0...4)
        let codes = memory.allocate(count, of: UInt8.self)
        for i in 0..<count {
            switch kind {
            case 1: codes[i] = UInt8(most)
            case 2: codes[i] = i % 2 == 0 ? 0 : UInt8(most)
            case 3: codes[i] = i / 2 % 2 == 0 ? UInt8(most) : 0
            default: codes[i] = UInt8(draw(0...most))
            }
        }
        return codes
    }

    private func drawWeights(_ extreme: Bool) {
        let count = (kernel.operation.isDepthwise ? group : problem.channels) * problem.taps * problem.outputs
        if kernel.bits == 32 {
            numberWeights = UnsafePointer(floats(count, 1))
            return
        }
        let most = kernel.bits == 8 ? 127 : 63
        let kind = extreme ? draw(1...4) : draw(0...5)
        weights = (0..<count).map { i in
            switch kind {
            case 1: Int8(most)
            case 2: Int8(-most)
            case 3: Int8(i % 2 == 0 ? most : -most)
            case 4: Int8(i / 2 % 2 == 0 ? most : -most)
            default: Int8(draw(-most...most))
            }
        }
        let sums = memory.allocate(problem.outputs, of: Int32.self)
        for n in 0..<problem.outputs { sums[n] = Int32(draw(-1_000_000...1_000_000)) }
        correction = UnsafePointer(sums)
    }

    // MARK: What follows the sums

    private func drawActivation(odd: Bool) -> pfi_activation {
        switch draw(0...3) {
        case 1: pfi_activation(kind: PFI_PRELU, slope: floats(problem.outputs, 2, odd: odd), low: 0, high: 0)
        case 2: pfi_activation(kind: PFI_CLIP, slope: nil, low: 0, high: oneIn(2) ? .infinity : 6)
        default: pfi_activation(kind: PFI_NONE, slope: nil, low: 0, high: 0)
        }
    }

    private func drawEpilogue(isSimple: Bool) {
        let isInteger = kernel.bits < 32
        let odd = oneIn(4)
        let outputs = problem.outputs
        if isInteger || oneIn(2) { epilogue.scale = UnsafePointer(floats(outputs, isInteger ? 1e-4 : 1, odd: odd)) }
        if !oneIn(4) { epilogue.bias = UnsafePointer(floats(outputs, 2, odd: odd)) }
        epilogue.first = drawActivation(odd: odd)
        let all = problem.images * problem.rows
        if !isSimple {
            if oneIn(2) {
                epilogue.residual_stride = outputs + draw(0...4)
                epilogue.residual = UnsafePointer(floats((all - 1) * epilogue.residual_stride + outputs, 3, odd: odd))
            }
            epilogue.second = drawActivation(odd: odd)
        }
        epilogue.sink_count = isSimple ? 1 : draw(1...4)
        for _ in 0..<epilogue.sink_count {
            var sink = pfi_sink()
            sink.kind = [PFI_CODES, PFI_FLOATS, PFI_SUMS][draw(0...(isInteger && !isSimple ? 2 : 1))]
            if sink.kind == PFI_CODES, oneIn(2) { sink.padded = (outputs + 3) / 4 * 4 }
            let width = max(outputs, sink.padded)
            sink.stride = width + (oneIn(3) ? draw(0...6) : 0)
            if !isSimple, oneIn(3) {
                sink.factor = UnsafePointer(floats(outputs, 2, odd: odd))
                sink.summand = UnsafePointer(floats(outputs, 2, odd: odd))
            }
            let zero = [0, 64, 128, draw(0...127)][draw(0...3)]
            sink.zero = Int32(zero)
            sink.scale = oneIn(2) ? 20 : 60
            sink.low = Float(oneIn(2) && zero >= 64 ? 1 - 64 : -zero)
            sink.high = Float((oneIn(2) && zero < 128 ? 127 : 255) - zero)
            sinks.append(sink)
            sinkCounts.append((all - 1) * sink.stride + width)
        }
    }
}
