import Monitoring
import TestSupport
import Testing

@Suite(.tags(.fast), .ownThread, .timeLimit(.minutes(20))) struct MetricsTextTests {
    @Test func familiesHaveHelpTypeAndSamples() {
        var text = MetricsText()
        text.add("a_total", .counter, "How many.", 3)
        text.add("b", .gauge, "Nothing.", nil)
        text.add("c", .gauge, "Two.", [.init(0.5, ("x", "1"), ("y", "2")), .init(-1, ("x", "2"), ("y", ""))])
        #expect(
            text.text == """
                # HELP a_total How many.
                # TYPE a_total counter
                a_total 3
                # HELP c Two.
                # TYPE c gauge
                c{x="1",y="2"} 0.5
                c{x="2",y=""} -1

                """)
    }

    @Test func whatWouldBreakALineIsEscaped() {
        var text = MetricsText()
        text.add("a", .gauge, "One\\two\nthree \"four\".", [.init(1, ("x", "quote \" slash \\ line\nend"))])
        #expect(
            text.text == """
                # HELP a One\\\\two\\nthree "four".
                # TYPE a gauge
                a{x="quote \\" slash \\\\ line\\nend"} 1

                """)
    }

    @Test func numbersThatAreNone() {
        var text = MetricsText()
        let values = [.nan, .infinity, -.infinity, 1e-300, 1e300, 0.1, 123_456_789_012]
        text.add("a", .gauge, "A.", values.enumerated().map { .init($0.element, ("i", "\($0.offset)")) })
        let numbers = text.text.split(separator: "\n").dropFirst(2).compactMap { $0.split(separator: " ").last }
        #expect(numbers == ["NaN", "+Inf", "-Inf", "1e-300", "1e+300", "0.1", "123456789012"])
    }

    @Test func histogramsAddUp() {
        var histogram = MetricsText.Histogram()
        for seconds in [0.001, 0.005, 0.2, 1000] { histogram.note(seconds) }
        var text = MetricsText()
        text.add("a_seconds", "A.", histogram)
        #expect(text.text.contains("a_seconds_bucket{le=\"0.005\"} 2\n"))
        #expect(text.text.contains("a_seconds_bucket{le=\"0.1\"} 2\n"))
        #expect(text.text.contains("a_seconds_bucket{le=\"0.25\"} 3\n"))
        #expect(text.text.contains("a_seconds_bucket{le=\"300\"} 3\n"))
        #expect(text.text.contains("a_seconds_bucket{le=\"+Inf\"} 4\n"))
        #expect(text.text.contains("a_seconds_sum 1000.206\na_seconds_count 4\n"))
    }

    @Test func healthFollowsTheLoop() {
        let health = ProcessHealth()
        #expect(health.isAlive && !health.isReady)
        #expect(health.readyResponse.status == .serviceUnavailable)
        health.turn(obstacle: "the disk is full")
        #expect(health.healthResponse.status == .ok)
        #expect(String(decoding: health.readyResponse.body, as: UTF8.self).contains("the disk is full"))
        health.turn(obstacle: nil)
        #expect(health.isReady && health.readyResponse.status == .ok)
        health.hold("evaluating")
        #expect(health.isAlive && !health.isReady)
        health.turn(obstacle: nil)
        #expect(health.isReady)
    }
}
