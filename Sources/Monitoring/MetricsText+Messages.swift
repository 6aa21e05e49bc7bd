extension MetricsText {
    /// Appends what the server of the cluster's own protocol has seen.
    ///
    /// - Parameters:
    ///   - refused: messages that were refused, by the name of the reason.
    ///   - turnedAway: peers that keys did not let in, by the name of the reason.
    ///   - ended: connections that the server has ended, by the name of the reason.
    public mutating func addMessages(
        received: Int, sent: Int, bytesIn: Int, bytesOut: Int, unfinished: Int, overfull: Int, refused: [String: Int],
        turnedAway: [String: Int], ended: [String: Int] = [:], unaccepted: Int = 0, ignored: Int = 0,
        connections: Int = 0
    ) {
        add(
            "partialfc_messages_total", .counter, "Messages of the cluster's protocol that came in and went out.",
            [Sample(Double(received), ("direction", "in")), Sample(Double(sent), ("direction", "out"))])
        add(
            "partialfc_message_bytes_total", .counter, "Their bytes.",
            [Sample(Double(bytesIn), ("direction", "in")), Sample(Double(bytesOut), ("direction", "out"))])
        add(
            "partialfc_unfinished_messages_total", .counter, "Large messages that were given up in the middle.",
            Double(unfinished))
        add(
            "partialfc_overfull_peers_total", .counter, "Peers dropped because they do not read what they are sent.",
            Double(overfull))
        add(
            "partialfc_refused_messages_total", .counter, "Messages that were refused, by reason.",
            refused.sorted { $0.key < $1.key }.map { Sample(Double($0.value), ("reason", $0.key)) })
        add(
            "partialfc_turned_away_peers_total", .counter, "Peers that were not let in because of keys, by reason.",
            turnedAway.sorted { $0.key < $1.key }.map { Sample(Double($0.value), ("reason", $0.key)) })
        add(
            "partialfc_ended_connections_total", .counter,
            "Connections that were ended because their peers took too much or said nothing, by reason.",
            ended.sorted { $0.key < $1.key }.map { Sample(Double($0.value), ("reason", $0.key)) })
        add(
            "partialfc_unaccepted_connections_total", .counter,
            "How often a connection could not be accepted for lack of descriptors.", Double(unaccepted))
        add(
            "partialfc_ignored_messages_total", .counter,
            "Messages of peers that were gone, or that asked without waiting for answers.", Double(ignored))
        add("partialfc_connections", .gauge, "Connections that are open.", Double(connections))
    }
}
