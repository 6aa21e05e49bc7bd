public import Dataset
internal import Foundation

/// Draws ROC curves: true accept rate over false accept rate, the latter on a logarithmic axis.
public enum ROCPlot {
    private static let (width, height) = (900, 640)
    private static let (left, right, top, bottom) = (86.0, 868.0, 58.0, 560.0)

    /// Writes the curves of `reports` as a PNG of 900 × 640 pixels.
    ///
    /// - Throws: `DatasetError` (`unwritableFile`) if the file cannot be written.
    public static func write(_ reports: [VerificationReport], title: String = "Verification", to path: String)
        throws(DatasetError)
    {
        var canvas = Canvas(width: width, height: height)
        let text = TextDrawer()
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
        drawGrid(&canvas, text, decades: decades, floor: floor, x: x, y: y)
        text.draw(title, x: (left + right) / 2, y: 34, size: 20, align: .center, on: &canvas)
        for (index, report) in reports.enumerated() {
            let color = Canvas.Color.palette[index % Canvas.Color.palette.count]
            draw(report.roc, color, on: &canvas, start: start, x: x, y: y)
            let figures = report.accuracy.flatMap { accuracy in
                report.auc.map { "accuracy \(rounded(accuracy * 100, places: 2)) %   AUC \(rounded($0, places: 4))" }
            }
            let label = "\(report.name)   \(figures ?? "no figure")"
            let row = bottom - 18 - Double(reports.count - 1 - index) * 24
            canvas.line((right - 446, row - 5), (right - 416, row - 5), color, thickness: 3)
            text.draw(label, x: right - 406, y: row, size: 15, on: &canvas)
        }
        try canvas.write(to: path)
    }

    private static func drawGrid(
        _ canvas: inout Canvas, _ text: TextDrawer, decades: Int, floor: Double, x: (Double) -> Double,
        y: (Double) -> Double
    ) {
        for decade in 0...decades {
            let rate = pow(10, -Double(decade))
            for multiple in 1..<10 where decade > 0 && multiple > 1 {
                canvas.line(
                    (x(rate * Double(multiple)), top), (x(rate * Double(multiple)), bottom), .gray, thickness: 0.4)
            }
            canvas.line((x(rate), top), (x(rate), bottom), .gray, thickness: 1.6)
            let label = decade == 0 ? "1" : "0." + String(repeating: "0", count: decade - 1) + "1"
            text.draw(label, x: x(rate), y: bottom + 22, size: 15, align: .center, on: &canvas)
        }
        for tick in 0...10 {
            let rate = floor + (1 - floor) * Double(tick) / 10
            canvas.line((left, y(rate)), (right, y(rate)), .gray, thickness: 1)
            text.draw(rounded(rate, places: 2), x: left - 10, y: y(rate) + 5, size: 15, align: .right, on: &canvas)
        }
        for (from, to) in [
            ((left, top), (left, bottom)), ((left, bottom), (right, bottom)), ((left, top), (right, top)),
            ((right, top), (right, bottom)),
        ] {
            canvas.line((x: from.0, y: from.1), (x: to.0, y: to.1), .black, thickness: 1.2)
        }
        text.draw("False accept rate", x: (left + right) / 2, y: bottom + 54, size: 17, align: .center, on: &canvas)
        text.draw("True accept rate", x: 16, y: top - 16, size: 17, on: &canvas)
    }

    /// A curve of steps, from rate `start` on.
    private static func draw(
        _ points: [VerificationReport.Point], _ color: Canvas.Color, on canvas: inout Canvas, start: Double,
        x: (Double) -> Double, y: (Double) -> Double
    ) {
        for (a, b) in zip(points, points.dropFirst()) where b.far >= start {
            canvas.line((x(max(a.far, start)), y(a.tar)), (x(b.far), y(b.tar)), color, thickness: 2.4)
        }
    }
}
