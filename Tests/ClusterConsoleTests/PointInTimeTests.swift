import ClusterConsole
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct PointInTimeTests {
    @Test(arguments: [
        ("90s", 910.0), ("10m", 400), ("0.1h", 640), ("0d", 1000), ("1700000000", 1_700_000_000), ("12.5", 12.5),
        ("1970-01-02T00:00:10Z", 86_410), ("1970-01-02T01:00:10+01:00", 86_410), ("1970-01-02T00:00:10.500Z", 86_410.5),
        ("1970-01-03", 172_800),
    ]) func timesAreRead(text: String, seconds: Double) {
        #expect(PointInTime.parse(text, now: 1000).map { abs($0 - seconds) < 1e-3 } == true, "\(text)")
    }

    @Test(arguments: ["", "m", "-5m", "nans", "infs", "nan", "inf", "yesterday", "10 m", "1970-13-01", "m10"])
    func whatIsNoTimeIsRefused(text: String) { #expect(PointInTime.parse(text, now: 1000) == nil) }
}
