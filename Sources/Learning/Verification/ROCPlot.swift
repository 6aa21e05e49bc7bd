public import Dataset
internal import Foundation

/// Draws ROC curves: true accept rate over false accept rate, the latter on a logarithmic axis.
public enum ROCPlot {
    private static let (width, height) = (900, 640)
    private static let (left, right, top, bottom) = (86.0, 868.0, 58.0, 560.0)

    /// Writes the curves of `reports` as an SVG of 900 × 640 pixels.
    ///
    /// - Throws: `DatasetError` (`unwritableFile`) if the file cannot be written.
    public static func write(_ reports: [VerificationReport], title: String = "Verification", to path: String)
        throws(DatasetError)
    {
        var drawing = Drawing(width: width, height: height)
        // The lowest rate worth showing is the one of a single wrong pair, between 1e-4 and 1e-2.
        let pairs = reports.map(\.pairCount).max() ?? 0
        let decades = pairs >= 8_000 ? 4 : pairs >= 800 ? 3 : 2
        // The vertical axis starts at a round number below the curves.
        let start = pow(10, -Double(decades))
        var lowestRate = 1.0
        for point in reports.flatMap(\.roc) where point.far >= start { lowestRate = min(lowestRate, point.tar) }
        let floor: Double = lowestRate >= 0.92 ? 0.9 : lowestRate >= 0.55 ? 0.5 : 0
        func x(_ far: Double) -> Double {
            right + (right - left) / Double(decades) * max(log10(max(far, 1e-12)), -Double(decades))
        }
        func y(_ tar: Double) -> Double { bottom - (bottom - top) * (max(tar, floor) - floor) / (1 - floor) }
        drawGrid(&drawing, decades: decades, floor: floor, x: x, y: y)
        drawing.text(title, x: (left + right) / 2, y: 34, size: 20, anchor: .middle)
        for (index, report) in reports.enumerated() {
            let color = Drawing.Color.palette[index % Drawing.Color.palette.count]
            draw(report.roc, color, on: &drawing, start: start, x: x, y: y)
            let figures = report.accuracy.flatMap { accuracy in
                report.auc.map { "accuracy \(rounded(accuracy * 100, places: 2)) %   AUC \(rounded($0, places: 4))" }
            }
            let label = "\(report.name)   \(figures ?? "no figure")"
            let row = bottom - 18 - Double(reports.count - 1 - index) * 24
            drawing.line((right - 446, row - 5), (right - 416, row - 5), color, thickness: 3)
            drawing.text(label, x: right - 406, y: row, size: 15)
        }
        try drawing.write(to: path)
    }

    private static func drawGrid(
        _ drawing: inout Drawing, decades: Int, floor: Double, x: (Double) -> Double,
        y: (Double) -> Double
    ) {
        for decade in 0...decades {
            let rate = pow(10, -Double(decade))
            for multiple in 1..<10 where decade > 0 && multiple > 1 {
                drawing.line(
                    (x(rate * Double(multiple)), top), (x(rate * Double(multiple)), bottom), .gray, thickness: 0.4)
            }
            drawing.line((x(rate), top), (x(rate), bottom), .gray, thickness: 1.6)
            let label = decade == 0 ? "1" : "0." + String(repeating: "0", count: decade - 1) + "1"
            drawing.text(label, x: x(rate), y: bottom + 22, size: 15, anchor: .middle)
        }
        for tick in 0...10 {
            let rate = floor + (1 - floor) * Double(tick) / 10
            drawing.line((left, y(rate)), (right, y(rate)), .gray, thickness: 1)
            drawing.text(rounded(rate, places: 2), x: left - 10, y: y(rate) + 5, size: 15, anchor: .end)
        }
        for (from, to) in [
            ((left, top), (left, bottom)), ((left, bottom), (right, bottom)), ((left, top), (right, top)),
            ((right, top), (right, bottom)),
        ] {
            drawing.line((x: from.0, y: from.1), (x: to.0, y: to.1), .black, thickness: 1.2)
        }
        drawing.text("False accept rate", x: (left + right) / 2, y: bottom + 54, size: 17, anchor: .middle)
        drawing.text("True accept rate", x: 16, y: top - 16, size: 17)
    }

    /// A curve of steps, from rate `start` on.
    private static func draw(
        _ points: [VerificationReport.Point], _ color: Drawing.Color, on drawing: inout Drawing, start: Double,
        x: (Double) -> Double, y: (Double) -> Double
    ) {
        guard let first = points.firstIndex(where: { $0.far >= start }) else { return }
        var curve = points[first...].map { (x: x($0.far), y: y($0.tar)) }
        if first > 0 { curve.insert((x(start), y(points[first - 1].tar)), at: 0) }
        drawing.curve(curve, color, thickness: 2.4)
    }
}
