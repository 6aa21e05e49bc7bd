internal import CPNG
internal import Dataset
internal import Foundation

/// A picture to draw lines and text on.
struct Canvas {
    struct Color: Sendable {
        var red: UInt8
        var green: UInt8
        var blue: UInt8

        static let black = Color(red: 30, green: 30, blue: 30)
        static let gray = Color(red: 222, green: 224, blue: 228)
        static let palette = [
            Color(red: 31, green: 97, blue: 180), Color(red: 214, green: 82, blue: 28),
            Color(red: 34, green: 139, blue: 79),
            Color(red: 128, green: 64, blue: 152), Color(red: 150, green: 110, blue: 20),
        ]
    }

    let width: Int
    let height: Int
    private var pixels: [UInt8]

    /// A white picture.
    init(width: Int, height: Int) {
        self.width = width
        self.height = height
        pixels = [UInt8](repeating: 255, count: width * height * 3)
    }

    /// Mixes `color` into a pixel with opacity 0...1. Outside the picture nothing happens.
    mutating func blend(_ x: Int, _ y: Int, _ color: Color, _ opacity: Double) {
        guard x >= 0, y >= 0, x < width, y < height else { return }
        let start = (y * width + x) * 3
        for (offset, value) in [color.red, color.green, color.blue].enumerated() {
            let mixed = Double(pixels[start + offset]) * (1 - opacity) + Double(value) * opacity
            pixels[start + offset] = UInt8(max(0, min(255, mixed.rounded())))
        }
    }

    /// Draws an antialiased line `thickness` pixels wide.
    mutating func line(
        _ from: (x: Double, y: Double), _ to: (x: Double, y: Double), _ color: Color, thickness: Double = 1
    ) {
        let (dx, dy) = (to.x - from.x, to.y - from.y)
        let length = max(dx * dx + dy * dy, 1e-12)
        let reach = thickness / 2 + 1
        let columns =
            Int(max(0, min(from.x, to.x) - reach))...Int(max(0, min(Double(width), max(from.x, to.x) + reach)))
        let rows = Int(max(0, min(from.y, to.y) - reach))...Int(max(0, min(Double(height), max(from.y, to.y) + reach)))
        for y in rows {
            for x in columns {
                let (px, py) = (Double(x) - from.x, Double(y) - from.y)
                let along = max(0, min(1, (px * dx + py * dy) / length))
                let (ex, ey) = (px - along * dx, py - along * dy)
                let opacity = thickness / 2 + 0.5 - (ex * ex + ey * ey).squareRoot()
                if opacity > 0 { blend(x, y, color, min(1, opacity)) }
            }
        }
    }

    /// The picture as PNG.
    ///
    /// - Throws: `DatasetError` (`unwritableFile`) if the file cannot be written.
    func write(to path: String) throws(DatasetError) {
        var image = png_image()
        image.version = pfc_png_version
        image.width = png_uint_32(width)
        image.height = png_uint_32(height)
        image.format = pfc_png_rgb
        defer { png_image_free(&image) }
        // Written whole under another name first, so that no viewer sees half a picture.
        let temporary = path + ".part"
        guard png_image_write_to_file(&image, temporary, 0, pixels, 0, nil) != 0, rename(temporary, path) == 0 else {
            unlink(temporary)
            throw DatasetError(
                .unwritableFile, path: path, "the picture cannot be written: \(String(cString: strerror(errno)))")
        }
    }
}
