internal import CKernels
internal import Model

/// An operator without weights, on the floats of images.
struct UnfoldedStep: Sendable {
    let operation: UnfoldedOperation
    let inputs: [Extents]
    let output: Extents

    /// Computes images `range`; inputs and output begin with image 0.
    func run(_ x: [UnsafePointer<Float>], _ y: UnsafeMutablePointer<Float>, _ range: Range<Int>) {
        let images = range.count
        let sources = zip(x, inputs).map { $0 + range.lowerBound * $1.count }
        let target = y + range.lowerBound * output.count
        switch operation {
        case .activation(let activation):
            let (kind, bounds) = activation.kernel
            pfc_activate(kind, bounds.0, bounds.1, sources[0], images * output.count, target)
        case .binary(let binary):
            var shape = pfc_broadcast()
            let isByChannel = inputs[1] != inputs[0]
            shape.rank = 3
            (shape.extents.0, shape.extents.1, shape.extents.2) = (images, output.pixels, output.channels)
            (shape.a.0, shape.a.1, shape.a.2) = (output.count, output.channels, 1)
            (shape.b.0, shape.b.1, shape.b.2) = (inputs[1].count, isByChannel ? 0 : output.channels, 1)
            pfc_binary(binary.kernel, &shape, sources[0], sources[1], target)
        case .pooling(let p):
            var window = p.window(samples: images, inputs[0].shape, output.shape)
            switch p.kind {
            case .maximum: pfc_pool_maximum(&window, sources[0], target)
            case .average: pfc_pool_average(&window, sources[0], target)
            }
        case .concatenation:
            var start = 0
            for (source, extents) in zip(sources, inputs) {
                pfc_copy_blocks(
                    source, extents.channels, target + start, output.channels, images * output.pixels,
                    extents.channels)
                start += extents.channels
            }
        case .slice(let range):
            pfc_copy_blocks(
                sources[0] + range.lowerBound, inputs[0].channels, target, output.channels, images * output.pixels,
                range.count)
        }
    }
}
