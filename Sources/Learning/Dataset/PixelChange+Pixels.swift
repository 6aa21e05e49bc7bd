internal import CKernels

/// Changes of interleaved 8-bit pixels. Integers and single operations of IEEE 754: the same pixels on every processor.
extension PixelChange.Choice {
    /// What an erased part is filled with: about 0 for the network.
    static let erased: UInt8 = 128

    /// Changes an image in place.
    ///
    /// - Throws: `DatasetError` if there is no memory.
    public func apply(to pixels: UnsafeMutableBufferPointer<UInt8>, shape: ImageShape) throws(DatasetError) {
        precondition(pixels.count >= shape.count, "a buffer too small for \(shape)")
        switch self {
        case .crop(let part):
            fill(pixels, shape, with: 0) { !part.contains($0, $1) }
        case .erase(let part):
            fill(pixels, shape, with: Self.erased) { part.contains($0, $1) }
        case .resizedCrop(let part):
            let (row, width) = (shape.width * shape.channels, part.width * shape.channels)
            var cut: [UInt8] = []
            cut.reserveCapacity(part.height * width)
            for y in part.top..<part.top + part.height {
                cut += pixels[y * row + part.left * shape.channels..<y * row + part.left * shape.channels + width]
            }
            try resize(cut, part.height, part.width, into: pixels, shape)
        case .lowResolution(let height, let width, let takesDown, let takesUp):
            let small = ImageShape(channels: shape.channels, height: height, width: width)
            var image = [UInt8](repeating: 0, count: small.count)
            let source = Array(pixels[0..<shape.count])
            try resize(source, shape, into: &image, small, takes: takesDown)
            var large = [UInt8](repeating: 0, count: shape.count)
            try resize(image, small, into: &large, shape, takes: takesUp)
            for index in 0..<shape.count { pixels[index] = large[index] }
        case .photometric(let adjustments):
            for adjustment in adjustments { adjustment.apply(to: pixels, shape: shape) }
        case .gray:
            guard shape.channels == 3 else { return }
            let gray = PixelChange.gray(pixels, shape)
            for index in 0..<shape.count { pixels[index] = gray[index / 3] }
        }
    }

    private func fill(
        _ pixels: UnsafeMutableBufferPointer<UInt8>, _ shape: ImageShape, with value: UInt8,
        where isFilled: (_ y: Int, _ x: Int) -> Bool
    ) {
        for y in 0..<shape.height {
            for x in 0..<shape.width where isFilled(y, x) {
                for channel in 0..<shape.channels {
                    pixels[(y * shape.width + x) * shape.channels + channel] = value
                }
            }
        }
    }

    private func resize(
        _ source: [UInt8], _ height: Int, _ width: Int, into pixels: UnsafeMutableBufferPointer<UInt8>,
        _ shape: ImageShape
    ) throws(DatasetError) {
        let from = ImageShape(channels: shape.channels, height: height, width: width)
        var result = [UInt8](repeating: 0, count: shape.count)
        try resize(source, from, into: &result, shape, takes: false)
        for index in 0..<shape.count { pixels[index] = result[index] }
    }

    /// - Parameter takes: the pixel in whose middle a new one's middle lies; else averages and interpolates.
    private func resize(
        _ source: [UInt8], _ from: ImageShape, into target: inout [UInt8], _ to: ImageShape, takes: Bool
    ) throws(DatasetError) {
        if takes {
            for y in 0..<to.height {
                let row = (2 * y + 1) * from.height / (2 * to.height) * from.width
                for x in 0..<to.width {
                    let pixel = (row + (2 * x + 1) * from.width / (2 * to.width)) * to.channels
                    for channel in 0..<to.channels {
                        target[(y * to.width + x) * to.channels + channel] = source[pixel + channel]
                    }
                }
            }
            return
        }
        let status = pfc_image_resize(
            source, Int32(from.height), Int32(from.width), Int32(from.channels), &target, Int32(to.height),
            Int32(to.width))
        if status != 0 { throw DatasetError(.unreadableFile, "out of memory while resizing \(from) to \(to)") }
    }
}

extension PixelChange {
    /// The luma of colour pixels; gray ones as they are.
    fileprivate static func gray(_ pixels: UnsafeMutableBufferPointer<UInt8>, _ shape: ImageShape) -> [UInt8] {
        var gray = [UInt8](repeating: 0, count: shape.height * shape.width)
        if shape.channels == 3, let source = pixels.baseAddress {
            pfc_image_gray_from_rgb(source, &gray, gray.count)
        } else {
            for index in gray.indices { gray[index] = pixels[index] }
        }
        return gray
    }
}

extension PixelChange.Rectangle {
    func contains(_ y: Int, _ x: Int) -> Bool {
        y >= top && y < top + height && x >= left && x < left + width
    }
}

extension PixelChange.Adjustment {
    /// base + factor · (pixel − base), rounded to the nearest; the base is black, the mean luma, or the pixel's luma.
    func apply(to pixels: UnsafeMutableBufferPointer<UInt8>, shape: ImageShape) {
        func blend(_ value: UInt8, _ base: Double, _ factor: Double) -> UInt8 {
            UInt8(min(max((base + factor * (Double(value) - base)).rounded(), 0), 255))
        }
        func blendAll(_ base: Double, _ factor: Double) {
            let table = (0...255).map { blend(UInt8($0), base, factor) }
            for index in 0..<shape.count { pixels[index] = table[Int(pixels[index])] }
        }
        switch self {
        case .brightness(let factor): blendAll(0, factor)
        case .contrast(let factor):
            let gray = PixelChange.gray(pixels, shape)
            let sum = gray.reduce(0) { $0 + Int($1) }
            blendAll(Double((2 * sum + gray.count) / (2 * gray.count)), factor)
        case .saturation(let factor):
            guard shape.channels == 3 else { return }
            let gray = PixelChange.gray(pixels, shape)
            for index in 0..<shape.count { pixels[index] = blend(pixels[index], Double(gray[index / 3]), factor) }
        }
    }
}
