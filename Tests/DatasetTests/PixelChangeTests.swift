import Dataset
import Determinism
import Foundation
import Tensors
import TestSupport
import Testing

/// Changes of training images: functions of (seed, step, position), and what each does to pixels.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct PixelChangeTests {
    private static let colour = ImageShape(channels: 3, height: 12, width: 9)

    private func pixels(_ shape: ImageShape) -> [UInt8] {
        var random = KeyedRandom(seed: 9, purpose: .test)
        return (0..<shape.count).map { _ in UInt8(random.below(256)) }
    }

    private func changed(_ choice: PixelChange.Choice, _ pixels: [UInt8], _ shape: ImageShape) throws -> [UInt8] {
        var copy = pixels
        try copy.withUnsafeMutableBufferPointer { try choice.apply(to: $0, shape: shape) }
        return copy
    }

    /// The pixel at (y, x), each channel by itself.
    private func map(_ shape: ImageShape, _ value: (_ y: Int, _ x: Int, _ channel: Int) -> UInt8) -> [UInt8] {
        (0..<shape.count).map { index in
            let pixel = index / shape.channels
            return value(pixel / shape.width, pixel % shape.width, index % shape.channels)
        }
    }

    @Test(arguments: [ImageShape(channels: 3, height: 12, width: 9), ImageShape(channels: 1, height: 8, width: 8)])
    func partsAreCutOutErasedAndEnlarged(shape: ImageShape) throws {
        let source = pixels(shape)
        let part = PixelChange.Rectangle(top: 2, left: 3, height: 4, width: 5)
        func isInside(_ y: Int, _ x: Int) -> Bool { (2..<6).contains(y) && (3..<8).contains(x) }
        func at(_ y: Int, _ x: Int, _ channel: Int) -> UInt8 {
            source[(y * shape.width + x) * shape.channels + channel]
        }
        let cut = map(shape) { y, x, channel in isInside(y, x) ? at(y, x, channel) : 0 }
        let erased = map(shape) { y, x, channel in isInside(y, x) ? 128 : at(y, x, channel) }
        #expect(try changed(.crop(part), source, shape) == cut)
        #expect(try changed(.erase(part), source, shape) == erased)
        // The whole image stays as it is; one pixel fills everything.
        let whole = PixelChange.Rectangle(top: 0, left: 0, height: shape.height, width: shape.width)
        #expect(try changed(.resizedCrop(whole), source, shape) == source)
        let one = PixelChange.Rectangle(top: 5, left: 4, height: 1, width: 1)
        let constant = map(shape) { _, _, channel in at(5, 4, channel) }
        #expect(try changed(.resizedCrop(one), source, shape) == constant)
        // An independent bilinear enlargement, in floating point: off by one where it rounds otherwise.
        let enlarged = try changed(.resizedCrop(part), source, shape)
        func clamped(_ y: Int, _ x: Int, _ channel: Int) -> Double {
            Double(at(2 + min(max(y, 0), 3), 3 + min(max(x, 0), 4), channel))
        }
        for (index, value) in enlarged.enumerated() {
            let (pixel, channel) = (index / shape.channels, index % shape.channels)
            let y = (Double(pixel / shape.width) + 0.5) * 4 / Double(shape.height) - 0.5
            let x = (Double(pixel % shape.width) + 0.5) * 5 / Double(shape.width) - 0.5
            let (top, left) = (Int(y.rounded(.down)), Int(x.rounded(.down)))
            let (down, right) = (y - Double(top), x - Double(left))
            let above = clamped(top, left, channel) * (1 - right) + clamped(top, left + 1, channel) * right
            let below = clamped(top + 1, left, channel) * (1 - right) + clamped(top + 1, left + 1, channel) * right
            #expect(abs(above * (1 - down) + below * down - Double(value)) <= 1)
        }
    }

    @Test func lowResolutionLosesDetail() throws {
        let shape = ImageShape(channels: 3, height: 4, width: 6)
        let source = pixels(shape)
        func at(_ y: Int, _ x: Int, _ channel: Int) -> Int { Int(source[(y * 6 + x) * 3 + channel]) }
        // Down to half and up again, by taking pixels: of each 2 × 2 the last one, four times.
        let taken = try changed(
            .lowResolution(height: 2, width: 3, takesDown: true, takesUp: true), source, shape)
        let lasts = map(shape) { y, x, channel in UInt8(at(y / 2 * 2 + 1, x / 2 * 2 + 1, channel)) }
        #expect(taken == lasts)
        // Averages of 2 × 2, four times.
        let averaged = try changed(
            .lowResolution(height: 2, width: 3, takesDown: false, takesUp: true), source, shape)
        let means = map(shape) { y, x, channel in
            let (top, left) = (y / 2 * 2, x / 2 * 2)
            let above = at(top, left, channel) + at(top, left + 1, channel)
            let below = at(top + 1, left, channel) + at(top + 1, left + 1, channel)
            return UInt8((above + below + 2) / 4)
        }
        #expect(zip(averaged, means).allSatisfy { abs(Int($0) - Int($1)) <= 1 })
        let same = PixelChange.Choice.lowResolution(height: 4, width: 6, takesDown: false, takesUp: false)
        #expect(try changed(same, source, shape) == source)
    }

    @Test func coloursAreBlended() throws {
        let shape = Self.colour
        let source = pixels(shape)
        let luma: [Int] = (0..<source.count / 3).map { pixel in
            let (red, green, blue) = (Int(source[3 * pixel]), Int(source[3 * pixel + 1]), Int(source[3 * pixel + 2]))
            return (299 * red + 587 * green + 114 * blue + 500) / 1000
        }
        func blended(_ factor: Double, _ base: (_ pixel: Int) -> Double) -> [UInt8] {
            source.enumerated().map { index, value in
                let mixed = factor * Double(value) + (1 - factor) * base(index / 3)
                return UInt8(min(max(mixed, 0), 255).rounded())
            }
        }
        func isNear(_ a: [UInt8], _ b: [UInt8]) -> Bool { zip(a, b).allSatisfy { abs(Int($0) - Int($1)) <= 1 } }
        let mean = (Double(luma.reduce(0, +)) / Double(luma.count)).rounded()
        for factor in [0.5, 0.8, 1, 1.3, 1.5] {
            let brighter = try changed(.photometric([.brightness(factor)]), source, shape)
            #expect(isNear(brighter, blended(factor) { _ in 0 }))
            let sharper = try changed(.photometric([.contrast(factor)]), source, shape)
            #expect(isNear(sharper, blended(factor) { _ in mean }))
            let fuller = try changed(.photometric([.saturation(factor)]), source, shape)
            #expect(isNear(fuller, blended(factor) { Double(luma[$0]) }))
            if factor == 1 { #expect(brighter == source && sharper == source && fuller == source) }
        }
        // One after the other, in the order in which they are named.
        let both = try changed(.photometric([.brightness(1.5), .contrast(0.5)]), source, shape)
        let brighter = try changed(.photometric([.brightness(1.5)]), source, shape)
        let expected = try changed(.photometric([.contrast(0.5)]), brighter, shape)
        #expect(both == expected)
        let gray = map(shape) { y, x, _ in UInt8(luma[y * 9 + x]) }
        #expect(try changed(.gray, source, shape) == gray)
        let single = ImageShape(channels: 1, height: 12, width: 9)
        #expect(try changed(.gray, luma.map(UInt8.init), single) == luma.map(UInt8.init))
    }

    /// As often as asked for, of sizes in range, evenly placed; other seeds, steps and positions draw other numbers.
    @Test func choicesAreDrawn() {
        let shape = ImageShape(channels: 3, height: 112, width: 112)
        for kind in PixelChange.Kind.allCases {
            for probability in [0.1, 0.5, 1] {
                let change = PixelChange(kind, probability: probability)
                func draw(seed: UInt64) -> [PixelChange.Choice?] {
                    (0..<2000).map { change.choice(shape: shape, seed: seed, step: $0 / 50, position: $0 % 50) }
                }
                let choices = draw(seed: 1)
                let count = Double(choices.count { $0 != nil })
                #expect(abs(count - 2000 * probability) < 100, "\(kind) \(probability): \(count)")
                #expect(choices == draw(seed: 1))
                if kind != .gray, probability == 1 {
                    #expect(choices != draw(seed: 2))
                    // There are only so many sizes of a low resolution.
                    #expect(Set(choices).count > (kind == .lowResolution ? 300 : 1900), "\(kind)")
                }
                for case .some(let choice) in choices.prefix(300) { check(choice, shape) }
            }
        }
    }

    private func check(_ choice: PixelChange.Choice, _ shape: ImageShape) {
        func check(_ part: PixelChange.Rectangle, _ share: ClosedRange<Double>, _ ratio: Double) {
            #expect(part.top >= 0 && part.top + part.height <= 112 && part.left >= 0 && part.left + part.width <= 112)
            let area = Double(part.height * part.width) / 12544
            #expect(area > share.lowerBound * 0.9 && area < share.upperBound * 1.1, "\(part)")
            let sides = Double(part.height) / Double(part.width)
            #expect(max(sides, 1 / sides) < ratio * 1.1, "\(part)")
        }
        switch choice {
        case .crop(let part), .resizedCrop(let part): check(part, 0.2...1, 4.0 / 3)
        case .erase(let part): check(part, 0.02...0.33, 3.3)
        case .lowResolution(let height, let width, _, _): #expect((22...112).contains(height) && height == width)
        case .photometric(let adjustments):
            #expect(adjustments.count == 3)
            for adjustment in adjustments {
                switch adjustment {
                case .brightness(let factor), .contrast(let factor), .saturation(let factor):
                    #expect((0.5...1.5).contains(factor))
                }
            }
        case .gray: break
        }
    }
}
