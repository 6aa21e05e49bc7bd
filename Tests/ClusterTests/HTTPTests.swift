import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// HTTP of a cluster of real processes.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct HTTPTests {
    /// A cluster that has trained some steps, every process with HTTP on a port that the system chose.
    private func withCluster(
        steps: Int = 100_000, _ body: (LocalCluster, _ coordinator: HTTPClient) throws -> Void
    ) throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            cluster.shardArguments = ["--http", "127.0.0.1:0"]
            try cluster.startCoordinator(
                configuration: folderTraining(data, steps: steps), settings: ["cluster.shards=2"],
                arguments: ["--http", "127.0.0.1:0"])
            for _ in 0..<2 { try cluster.addShard() }
            try cluster.addWorker(arguments: ["--http", "127.0.0.1:0"])
            try cluster.waitUntilCommitted(10)
            let coordinator = try client(of: "coordinator", "dashboard at", cluster)
            // What HTTP shows is a quarter of a second old; a cluster may join and train ten steps in less.
            try cluster.waitUntil("HTTP shows the cluster", seconds: 30) {
                let page = try JSONSerialization.jsonObject(with: coordinator.get("/api/status").body)
                guard let status = page as? [String: Any] else { return false }
                return (status["shards"] as? [Any])?.count == 2 && (status["workers"] as? [Any])?.count == 1
            }
            try body(cluster, coordinator)
        }
    }

    /// A client of the process whose log says where it serves.
    private func client(of log: String, _ mark: String, _ cluster: LocalCluster) throws -> HTTPClient {
        try cluster.waitUntil("\(log) serves HTTP", seconds: 30) {
            cluster.log(log, lines: 1000).contains(mark)
        }
        let line = try #require(
            cluster.log(log, lines: 1000).split(separator: "\n").last { $0.contains(mark) }, "\(log) serves no HTTP")
        let port = try #require(line.split(separator: ":").last?.split(separator: "/").first.flatMap { UInt16($0) })
        #expect(line.contains("127.0.0.1"), "\(line)")
        return HTTPClient(port: port)
    }

    @Test func theAPIKeepsToItsSchema() throws {
        try withCluster { cluster, client in
            let schema = try JSONSchema(client.get("/api/schema.json").body)
            try cluster.waitUntil("the history has points", seconds: 20) {
                let history = try JSONSerialization.jsonObject(with: client.get("/api/history").body) as? [String: Any]
                return (history?["step"] as? [Int])?.count ?? 0 > 10
            }
            for page in ["status", "shards", "workers", "slices", "events", "history"] {
                let answer = try client.get("/api/\(page)")
                #expect(answer.status == 200)
                #expect(answer.headers["content-type"] == "application/json")
                let problems = try schema.problems(of: answer.body, definition: page)
                #expect(problems.isEmpty, "\(page): \(problems.prefix(5))")
            }
            for (path, status) in [
                ("/api/events?count=2", 200), ("/api/events?count=0", 400), ("/api/history?points=x", 400),
                ("/api/history?points=2049", 400), ("/api/nothing", 404), ("/api", 404),
            ] {
                let answer = try client.get(path)
                #expect(answer.status == status)
                if status != 200 { #expect(try schema.problems(of: answer.body, definition: "error").isEmpty) }
            }
            // The same words as on the command line.
            let status = try JSONSerialization.jsonObject(with: client.get("/api/status").body) as? [String: Any]
            #expect(try status?["clusterID"] as? String == cluster.object("status")["clusterID"] as? String)
            #expect((status?["shards"] as? [Any])?.count == 2)
            let events = try JSONSerialization.jsonObject(with: client.get("/api/events?count=2").body) as? [Any]
            #expect(events?.count == 2)
        }
    }

    @Test func everyProcessHasMetricsAndHealth() throws {
        try withCluster { cluster, coordinator in
            let clients = try [
                ("coordinator", coordinator), ("shard-0", client(of: "shard-0", "metrics at", cluster)),
                ("shard-1", client(of: "shard-1", "metrics at", cluster)),
                ("worker-0", client(of: "worker-0", "metrics at", cluster)),
            ]
            for (name, client) in clients {
                #expect(try client.get("/healthz").text == "ok\n")
                try cluster.waitUntil("\(name) is ready", seconds: 10) { try client.get("/readyz").status == 200 }
                let page = try client.get("/metrics")
                #expect(page.headers["content-type"]?.contains("version=0.0.4") == true)
                let problems = MetricsGrammar.problems(page.text)
                #expect(problems.isEmpty, "\(name): \(problems.prefix(5))")
                #expect(page.text.contains("process_resident_memory_bytes "))
                #expect(page.text.contains("partialfc_ready 1\n"))
                #expect(try client.get("/other").status == 404)
            }
            let text = try coordinator.get("/metrics").text
            for line in [
                #"partialfc_run_state{state="training"} 1"#, #"partialfc_shard_up{shard="shard-1"} 1"#,
                #"partialfc_worker_rank{worker="worker-0"} 0"#, "partialfc_run_steps 100000",
            ] { #expect(text.contains(line + "\n"), "\(line)") }
            #expect(try clients[1].1.get("/metrics").text.contains("partialfc_log_bytes "))
            #expect(
                try clients[3].1.get("/metrics").text.contains("partialfc_step_phase_seconds_total{phase=\"update\"} "))
        }
    }

    @Test func theDashboardIsOnePage() throws {
        try withCluster { _, client in
            let page = try client.get("/")
            #expect(page.headers["content-type"] == "text/html; charset=utf-8")
            #expect(page.headers["content-security-policy"]?.hasPrefix("default-src 'none'") == true)
            #expect(page.text.hasPrefix("<!doctype html>"))
            // Nothing from elsewhere: the one address is the name of SVG's vocabulary.
            let addresses = page.text.components(separatedBy: "http").dropFirst().map { $0.prefix(24) }
            #expect(addresses.allSatisfy { $0.hasPrefix("://www.w3.org/2000/svg") }, "\(addresses)")
            #expect(!page.text.contains("src="))
        }
    }

    @Test func aLostShardIsSeen() throws {
        try withCluster { cluster, client in
            cluster.shards[1].suspend()
            try cluster.waitUntil("the shard is lost", seconds: 30) {
                try client.get("/metrics").text.contains("partialfc_shard_up{shard=\"shard-")
                    && client.get("/metrics").text.contains(
                        "partialfc_shard_up{shard=\"\(cluster.name(of: cluster.shards[1]))\"} 0\n")
            }
            #expect(try client.get("/healthz").status == 200, "a coordinator that waits is healthy")
            cluster.shards[1].resume()
        }
    }

    @Test func hostileClientsDoNotDisturbTheTraining() throws {
        let undisturbed = try Undisturbed.run.get()
        try withDirectory { directory in
            let run = try TrainingRun.run(
                configuration: Undisturbed.configuration(writeFolderDataset(to: directory)),
                arguments: ["--http", "127.0.0.1:0"], world: .init(shards: 2, workers: 2), in: directory, seconds: 180,
                shardArguments: ["--http", "127.0.0.1:0"]
            ) { cluster in
                let clients = try [
                    client(of: "coordinator", "dashboard at", cluster), client(of: "shard-0", "metrics at", cluster),
                ]
                var open: [Int32] = []
                defer { for descriptor in open { close(descriptor) } }
                while try !["paused", "finished"].contains(cluster.status().state) {
                    for client in clients {
                        for _ in 0..<10 { try? open.append(client.connection(sending: Data("GET /met".utf8))) }
                        let junk = Data((0..<5000).map { _ in UInt8.random(in: 0...255) })
                        _ = try? client.answer(to: junk, seconds: 2)
                        _ = try? client.answer(to: Data(repeating: 0x41, count: 300_000), seconds: 2)
                        #expect(try client.get("/metrics").status == 200)
                    }
                    if open.count > 200 {
                        for descriptor in open { close(descriptor) }
                        open = []
                    }
                }
            }
            let difference = run.gap ?? run.difference(from: undisturbed)
            #expect(difference == nil, "\(difference ?? "")")
        }
    }

    @Test func theHistoryOutlivesTheCoordinator() throws {
        try withCluster { cluster, _ in
            try cluster.waitUntilCommitted(30)
            try cluster.restartCoordinator()
            let committed = try cluster.waitForStatus("it goes on", seconds: 30) { $0.committed > 40 }.committed
            let again = try client(of: "coordinator", "dashboard at", cluster)
            let history =
                try JSONSerialization.jsonObject(with: again.get("/api/history?points=2048").body) as? [String: Any]
            let steps = try #require(history?["step"] as? [Int])
            #expect(steps.count >= committed)
            #expect(Array(steps.prefix(40)) == Array(0..<40))
            #expect((history?["loss"] as? [Any])?.prefix(40).allSatisfy { $0 is Double } == true)
        }
    }

    @Test func healthIsAskedOfTheProcessItself() throws {
        try withCluster { cluster, coordinator in
            let ports = try [
                coordinator.port, client(of: "shard-0", "metrics at", cluster).port,
                client(of: "worker-0", "metrics at", cluster).port,
            ]
            for port in ports {
                let alive = try LocalCluster.run("coordinator", ["health", "127.0.0.1:\(port)"])
                #expect(alive.code == 0 && alive.text == "ok\n", "\(alive.text)")
                let ready = try LocalCluster.run("coordinator", ["health", "--ready", "*:\(port)"])
                #expect(ready.code == 0 && ready.text == "ready\n", "\(ready.text)")
            }
            // One that looks for its coordinator where nobody is.
            try cluster.addShard(arguments: ["--coordinator", "tcp://127.0.0.1:1"])
            let lonely = try client(of: "shard-2", "metrics at", cluster).port
            let waiting = try LocalCluster.run("coordinator", ["health", "--ready", "127.0.0.1:\(lonely)"])
            #expect(waiting.code == 1 && waiting.text == "not ready: not welcomed by the coordinator\n")
            #expect(try LocalCluster.run("coordinator", ["health", "127.0.0.1:\(lonely)"]).code == 0)
            cluster.coordinator?.kill()
            let gone = try LocalCluster.run("coordinator", ["health", "127.0.0.1:\(ports[0])", "--timeout", "2"])
            #expect(gone.code == 69 && gone.text.contains("Connection refused"), "\(gone.text)")
        }
        // A coordinator that cannot start leaves the reason where its health check finds it.
        try withDirectory { directory in
            let (state, none) = (directory.appending(path: "state").path, directory.appending(path: "none.yaml").path)
            let refused = try LocalCluster.run("coordinator", ["serve", "--config", none, "--state", state])
            #expect(refused.code != 0)
            let asked = try LocalCluster.run(
                "coordinator", ["health", "127.0.0.1:1"], environment: ["PARTIALFC_STATE": state])
            #expect(asked.code == 69 && asked.text.contains("could not start"), "\(asked.text)")
            #expect(asked.text.contains(none), "\(asked.text)")
        }
        for wrong in ["off", "7480", "127.0.0.1:0"] {
            #expect(try LocalCluster.run("coordinator", ["health", wrong]).code == 64)
        }
    }

    @Test func theOptionIsChecked() throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let wrong = try LocalCluster.run("shard-server", ["--http", "7480", "--directory", directory.path])
            #expect(wrong.code == 64)
            #expect(wrong.text.contains("ADDRESS:PORT is wanted"), "\(wrong.text)")

            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.startCoordinator(
                configuration: folderTraining(data, steps: 10), arguments: ["--http", "127.0.0.1:0"])
            let taken = try client(of: "coordinator", "dashboard at", cluster).port
            let second = try LocalCluster.run(
                "coordinator",
                [
                    "serve", "--config", directory.appending(path: "run.yaml").path, "--bind", "tcp://127.0.0.1:*",
                    "--set", "output=\(directory.path)/second", "--http", "127.0.0.1:\(taken)",
                ])
            #expect(second.code == 70)
            #expect(second.text.contains("HTTP cannot be served at 127.0.0.1:\(taken)"), "\(second.text)")

            cluster.stop()
            try cluster.startCoordinator(configuration: folderTraining(data, steps: 10), arguments: ["--http", "off"])
            func last() -> String {
                cluster.log("coordinator", lines: 1000).components(separatedBy: "stopping").last ?? ""
            }
            // It listens before it says so, and a dashboard would have been told of before.
            try cluster.waitUntil("it says so", seconds: 30) { last().contains("listening at") }
            #expect(!last().contains("dashboard"), "\(last())")
        }
    }
}
