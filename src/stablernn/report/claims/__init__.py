"""One function a claim: from records to judgements. No sentence says more than its numbers decide."""
