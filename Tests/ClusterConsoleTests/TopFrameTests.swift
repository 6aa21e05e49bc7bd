import ClusterConsole
import OperatorStatus
import TestSupport
import Testing

/// The frames of `coordinator top`, which are a function of what is known and of the size of the screen.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct TopFrameTests {
    private func view(shards: Int = 2, workers: Int = 2, prefix: String = "") -> TopView {
        var status = ClusterStatus(clusterID: "c0ffee", state: "training")
        status.committed = 1203
        status.totalSteps = 2030
        status.classes = 3000
        status.embeddingSize = 64
        status.batchSize = 128
        status.exchange = "features"
        status.loss = 12.3456
        status.nextLearningRate = 0.05
        status.gradientNorm = 3.25
        status.samplesPerSecond = 950
        status.secondsLeft = 151
        status.evaluations = [.init(name: "held-out", step: 999, values: ["accuracy": 0.987, "auc": 0.99])]
        status.shards = (0..<shards).map { number in
            var shard = ClusterStatus.Shard(
                name: "\(prefix)shard-\(number)", endpoint: "tcp://127.0.0.1:\(7401 + number)")
            shard.alive = true
            shard.committed = 1203
            shard.durable = 1200
            shard.slices = [[number * 4, number * 4 + 4]]
            shard.classes = [[number * 1500, number * 1500 + 1500]]
            shard.denseSlices = [[number, number + 1]]
            shard.memoryBytes = 3 << 20
            shard.residentBytes = (100 + number) << 20
            shard.logBytes = 7 << 20
            return shard
        }
        status.workers = (0..<workers).map { number in
            var worker = ClusterStatus.Worker(name: "\(prefix)worker-\(number)")
            worker.alive = true
            worker.rank = number
            worker.microBatches = [number * 4, number * 4 + 4]
            worker.stepSeconds = 0.128 + 0.01 * Double(number)
            worker.backboneSeconds = 0.08
            worker.exchangeSeconds = 0.048
            worker.updateSeconds = 0.008
            worker.host = "host-a"
            worker.processID = 4711
            worker.residentBytes = (300 - number) << 20
            return worker
        }
        var history = RunHistory(totalSteps: 2030, batchSize: 128, stepsPerPoint: 8)
        let points = 0..<150
        history.step = points.map { $0 * 8 }
        history.loss = points.map { 40 - Float($0) / 5 }
        history.seconds = points.map { _ in 0.134 }
        history.backboneSeconds = points.map { _ in 0.08 }
        history.exchangeSeconds = points.map { _ in 0.048 }
        history.updateSeconds = points.map { _ in 0.008 }
        return TopView(
            status: status, history: history,
            events: [
                ClusterEvent(id: 1, time: 0, level: "info", text: "shard-0 joined"),
                ClusterEvent(id: 2, time: 1, level: "warning", text: "worker-3 left"),
            ])
    }

    private func plain(_ view: TopView, _ columns: Int, _ rows: Int) -> [String] {
        TopFrame.lines(view, size: ScreenSize(columns: columns, rows: rows), coloured: false)
    }

    /// Sequences that colour something, which take no room.
    private func withoutColours(_ line: String) -> String {
        var text = ""
        var isInside = false
        for character in line {
            if character == "\u{1B}" { isInside = true }
            if !isInside { text.append(character) }
            if isInside && character == "m" { isInside = false }
        }
        return text
    }

    @Test func aWideScreenShowsEverything() {
        let lines = plain(view(), 140, 40)
        let text = lines.joined(separator: "\n")
        #expect(lines.count == 40)
        for part in [
            "c0ffee  training", "3000 classes × 64", "1204 of 2030 steps  59.3 %", "2 min 31 s left", "loss 12.3456",
            "learning rate 0.0500", "98.70 % held-out, after step 999", "gradient norm 3.250", "950 samples/s",
            "backbone 80.0", "exchange 40.0", "update 8.0", "SHARDS  2", "shard-1", "1500", "101 MiB", "7 MiB",
            "tcp://127.0.0.1:7402", "WORKERS  2", "worker-1", "4711@host-a", "EVENTS", "worker-3 left", "q quit",
            "p pause",
        ] { #expect(text.contains(part), "\(part) is not in\n\(text)") }
        // The parts of a step as parts of a bar.
        #expect(text.contains("█") && text.contains("▓") && text.contains("▒"))
        // The newest event comes first.
        let events = lines.firstIndex { $0.contains("worker-3 left") } ?? 0
        #expect(lines[events + 1].contains("shard-0 joined"))
    }

    @Test(arguments: [(1, 1), (3, 2), (10, 3), (20, 10), (40, 24), (80, 24), (200, 60)])
    func nothingIsWiderOrLongerThanTheScreen(columns: Int, rows: Int) {
        var long = view(shards: 30, workers: 30, prefix: "a-very-long-name-of-a-member-")
        long.status.reason = String(repeating: "a reason that goes on and on, ", count: 20)
        long.status.obstacle = "日本語の名前" + String(repeating: "長", count: 100)
        long.events.append(ClusterEvent(id: 3, time: 2, level: "error", text: String(repeating: "x", count: 500)))
        for coloured in [false, true] {
            let lines = TopFrame.lines(long, size: ScreenSize(columns: columns, rows: rows), coloured: coloured)
            #expect(lines.count <= rows)
            for line in lines {
                let shown = withoutColours(line)
                let width = shown.reduce(0) { $0 + (("\u{3000}"..."\u{9FFF}").contains($1) ? 2 : 1) }
                #expect(width <= columns, "\(width) columns: \(shown)")
            }
        }
    }

    @Test func aNarrowScreenLeavesOutWhatMattersLeast() {
        let lines = plain(view(), 40, 40)
        let text = lines.joined(separator: "\n")
        #expect(text.contains("shard-1") && text.contains("alive") && text.contains("samples/s"))
        #expect(!text.contains("tcp://"))
        let heading = lines.first { $0.hasPrefix("shard ") } ?? ""
        #expect(heading.contains("slices") && !heading.contains("durable"))
        // Cut text says so.
        #expect(lines[0].hasSuffix("…"))
    }

    @Test func withoutColoursThereIsNoEscape() {
        #expect(plain(view(), 100, 40).allSatisfy { !$0.contains("\u{1B}") })
        let coloured = TopFrame.lines(view(), size: ScreenSize(columns: 100, rows: 40), coloured: true)
        #expect(coloured.contains { $0.contains("\u{1B}[") })
        #expect(coloured.map(withoutColours) == plain(view(), 100, 40))
    }

    @Test func whatMembersSayOfThemselvesIsNotObeyed() {
        var evil = view()
        evil.status.workers[0].host = "a\u{1B}]0;title\u{07}b\nc"
        evil.status.shards[0].obstacle = "\u{1B}[2J"
        evil.events = [ClusterEvent(id: 1, time: .nan, level: "info", text: "tab\there\u{202E}")]
        for line in plain(evil, 160, 40) {
            #expect(
                !line.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7F || $0.value == 0x202E }, "\(line)")
        }
    }

    @Test func whatIsWrongIsSaid() {
        var troubled = view()
        troubled.status.straggler = "worker-1"
        troubled.status.shards[0].alive = false
        troubled.status.shards[0].age = 42
        troubled.status.shards[1].obstacle = "the disk is full"
        troubled.status.shards[1].committed = 1190
        troubled.status.moves = [.init(slice: "slice 3", from: "shard-0", to: "shard-1")]
        troubled.status.learningRateChanges = [.init(fromStep: 900, rule: "*0.1")]
        let text = plain(troubled, 140, 40).joined(separator: "\n")
        for part in [
            "lost 42 s", "blocked", "shard-1: the disk is full", "waits for worker-1", "slow", "+1", "-1", "13",
            "1 slice on their way", "(*0.1 since step 900)",
        ] { #expect(text.contains(part), "\(part) is not in\n\(text)") }
    }

    @Test func aRunThatHasNotBegunHasNoFigures() {
        let empty = TopView(status: ClusterStatus(clusterID: "c", state: "waiting"))
        let text = plain(empty, 80, 24).joined(separator: "\n")
        #expect(text.contains("waiting") && text.contains("0 steps") && text.contains("loss –"))
    }

    @Test func aJobIsShownWithTheRanksThatItHasLost() {
        var jobs = view()
        jobs.status.job = .init(id: "00000000000000ab", since: 41, worldSize: 4, missingRanks: [])
        #expect(plain(jobs, 140, 40).joined().contains("job 00000000000000ab: 4 ranks since step 42"))
        jobs.status.job?.missingRanks = [1, 3]
        #expect(plain(jobs, 140, 40).joined().contains("since step 42, lost: rank 1, 3"))
    }

    /// With `schedule.rate: job` the plan's rate is nobody's.
    @Test func theRateIsTheJobsWhereTheJobChoosesIt() {
        var jobs = view()
        (jobs.status.nextLearningRate, jobs.status.gradientNorm) = (nil, nil)
        #expect(plain(jobs, 140, 40).joined().contains("learning rate –"))
        jobs.status.learningRate = 0.125
        #expect(plain(jobs, 140, 40).joined().contains("learning rate 0.1250"))
        #expect(!plain(jobs, 140, 40).joined().contains("gradient norm"))
    }

    @Test func valuesThatAreNotFiniteAreShown() {
        var diverged = view()
        diverged.status.loss = .nan
        diverged.status.gradientNorm = .infinity
        diverged.status.nextLearningRate = .infinity
        diverged.status.secondsLeft = .infinity
        diverged.history?.loss = [1, nil, .nan, .infinity, 2]
        #expect(plain(diverged, 120, 30).joined().contains("nan"))
    }

    @Test func scrollingShowsTheRest() {
        var many = view(shards: 30)
        let size = ScreenSize(columns: 100, rows: 20)
        #expect(!plain(many, 100, 20).joined().contains("worker-1"))
        let last = TopFrame.largestScroll(many, size: size)
        #expect(last > 20)
        many.scroll = last
        #expect(plain(many, 100, 20).joined().contains("shard-0 joined"))
        let end = plain(many, 100, 20)
        many.scroll = last + 1000
        #expect(plain(many, 100, 20) == end)
        #expect(TopFrame.largestScroll(view(), size: ScreenSize(columns: 100, rows: 60)) == 0)
    }

    @Test func membersAreSorted() {
        func order(_ order: TopView.Order) -> [String] {
            var sorted = view()
            sorted.order = order
            return plain(sorted, 100, 40).compactMap { line in
                ["shard-0", "shard-1", "worker-0", "worker-1"].first { line.hasPrefix($0) }
            }
        }
        #expect(order(.name) == ["shard-0", "shard-1", "worker-0", "worker-1"])
        #expect(order(.memory) == ["shard-1", "shard-0", "worker-0", "worker-1"])
        #expect(order(.time).suffix(2) == ["worker-1", "worker-0"])
        #expect(TopView.Order.name.next.next.next == .name)
    }

    @Test func aQuestionTakesThePlaceOfTheKeys() {
        var asking = view()
        asking.notice = "pause the run?"
        #expect(plain(asking, 80, 24).last == "pause the run?")
        asking.status.state = "paused"
        asking.notice = nil
        #expect(plain(asking, 80, 24).last?.contains("p resume") == true)
    }
}
