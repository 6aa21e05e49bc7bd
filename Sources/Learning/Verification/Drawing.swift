internal import Dataset
internal import Foundation
internal import ProcessSupport

/// A picture of lines and text, as SVG: no library draws it, and every browser shows it.
struct Drawing {
    enum Color: String {
        case black = "#1e1e1e"
        case gray = "#dee0e4"
        case blue = "#1f61b4"
        case orange = "#d6521c"
        case green = "#228b4f"
        case violet = "#804098"
        case ochre = "#966e14"

        static let palette: [Color] = [.blue, .orange, .green, .violet, .ochre]
    }

    /// Which part of a text stands at its place.
    enum Anchor: String {
        case start, middle, end
    }

    let width: Int
    let height: Int
    private var elements: [String] = []

    /// A white picture.
    init(width: Int, height: Int) {
        self.width = width
        self.height = height
    }

    mutating func line(
        _ from: (x: Double, y: Double), _ to: (x: Double, y: Double), _ color: Color, thickness: Double = 1
    ) {
        elements.append(
            "<line x1=\"\(number(from.x))\" y1=\"\(number(from.y))\" x2=\"\(number(to.x))\" y2=\"\(number(to.y))\" stroke=\"\(color.rawValue)\" stroke-width=\"\(number(thickness))\"/>"
        )
    }

    /// A line through all points; those that fall on the one before are left out.
    mutating func curve(_ points: [(x: Double, y: Double)], _ color: Color, thickness: Double) {
        var places: [String] = []
        for point in points {
            let place = "\(number(point.x)),\(number(point.y))"
            if place != places.last { places.append(place) }
        }
        elements.append(
            "<polyline fill=\"none\" stroke=\"\(color.rawValue)\" stroke-width=\"\(number(thickness))\" points=\"\(places.joined(separator: " "))\"/>"
        )
    }

    /// Text with its baseline at `y`, `size` pixels high.
    mutating func text(_ text: String, x: Double, y: Double, size: Int, anchor: Anchor = .start) {
        elements.append(
            "<text x=\"\(number(x))\" y=\"\(number(y))\" font-size=\"\(size)\" text-anchor=\"\(anchor.rawValue)\">\(Self.escaped(text))</text>"
        )
    }

    private func number(_ value: Double) -> String { rounded(value, places: 1) }

    /// What XML can hold: markup as text, and no control characters.
    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case _ where scalar.value < 0x20 || scalar.value == 0xFFFE || scalar.value == 0xFFFF: escaped += "\u{FFFD}"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    var svg: String {
        """
        <svg xmlns="http://www.w3.org/2000/svg" width="\(width)" height="\(height)" viewBox="0 0 \(width) \(height)" \
        font-family="DejaVu Sans, Verdana, sans-serif" fill="\(Color.black.rawValue)">
        <rect width="\(width)" height="\(height)" fill="white"/>
        \(elements.joined(separator: "\n"))
        </svg>

        """
    }

    /// - Throws: `DatasetError` (`unwritableFile`) if the file cannot be written.
    func write(to path: String) throws(DatasetError) {
        // Written whole under another name first, so that no viewer sees half a picture.
        let temporary = path + ".part"
        do { try Data(svg.utf8).write(to: URL(fileURLWithPath: temporary)) } catch {
            unlink(temporary)
            throw DatasetError(
                .unwritableFile, path: path, "the picture cannot be written: \(SystemProblem.reason(error))")
        }
        guard rename(temporary, path) == 0 else {
            let reason = String(cString: strerror(errno))
            unlink(temporary)
            throw DatasetError(.unwritableFile, path: path, "the picture cannot be written: \(reason)")
        }
    }
}
