internal import Determinism

/// Members and strangers that do what they should not, and links that stay bad: not for a while, but to the end.
struct Malice: CustomStringConvertible {
    /// Workers that keep their lease and do nothing.
    var mutes = false
    /// Workers that say that a step is done of which no shard has heard.
    var lies = false
    /// Strangers that send shards requests of attempts that nobody announced, or in a worker's place.
    var strangers = false
    /// Links between a worker and a shard that carry nothing any more, in one direction or both.
    var cuts = false
    /// A worker that dies soon after it has joined, is started again, dies again.
    var crashes = false
    /// How long every payload between workers and shards takes; longer than requests wait before they are repeated. 0: no time.
    var transferTime: Int64 = 0

    init() {}

    init(_ random: inout KeyedRandom) {
        mutes = random.below(6) == 0
        lies = random.below(8) == 0
        strangers = random.below(5) == 0
        cuts = random.below(6) == 0
        crashes = random.below(8) == 0
        if random.below(12) == 0 { transferTime = 500 + Int64(random.below(300)) }
    }

    var happens: Bool { mutes || lies || strangers || cuts || crashes }

    var description: String {
        "mutes \(mutes), lies \(lies), strangers \(strangers), lasting cuts \(cuts), crashes \(crashes), "
            + "payloads take \(transferTime) ms"
    }
}
