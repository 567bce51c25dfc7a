"""What a run shows of itself: charts as data, and one page to send to somebody."""
