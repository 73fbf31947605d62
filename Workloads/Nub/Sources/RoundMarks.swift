import CPU

/// Passes a program's marks on to the host (GuestInterface/RoundMark.swift).
@c(systemCallRoundMark)
func systemCallRoundMark(_ number: UInt32, _ phase: UInt32, _ name: UInt64, _ nameBytes: UInt64) -> Int {
    guard let mark = RoundMark(rawValue: number), phase < RoundMark.phaseLimit else { return -EINVAL }
    switch mark {
    case .name:
        let count = nameBytes < RoundMark.nameLimit ? nameBytes : RoundMark.nameLimit
        let isRead = mailbox.appendFromUser(
            MailboxRecordKind.phaseName, detail: UInt16(truncatingIfNeeded: phase), name, count)
        return isRead ? 0 : -EFAULT
    case .begin:
        // Or the next tick would tell of it, inside of the round.
        if mailbox.hasUnflushedOutput { mailbox.ring() }
        mailbox.mark(Doorbell.roundBegin | phase)
    case .end: mailbox.mark(Doorbell.roundEnd | phase)
    }
    return 0
}
